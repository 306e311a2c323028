import type { Level, LinkQuality } from "./wire";

export type Quality = Level;

/** Both connections as the engine sees them. */
export interface Connections {
  own: LinkQuality;
  other: LinkQuality;
}

/** Running totals of one connection, as getStats reports them. */
export interface LinkTotals {
  atMs: number;
  packetsReceived: number;
  packetsLost: number;
  freezeCount: number;
  freezeSeconds: number;
  rttMs: number | null;
}

/** What one interval between two totals was like. */
export interface LinkSample {
  rttMs: number | null;
  lossFraction: number;
  freezes: number;
  frozenFraction: number;
}

const FAIR = { rttMs: 250, lossFraction: 0.03, frozenFraction: 0.02 };
const POOR = { rttMs: 600, lossFraction: 0.1, frozenFraction: 0.15 };

export function sampleBetween(before: LinkTotals, after: LinkTotals): LinkSample {
  const lost = Math.max(0, after.packetsLost - before.packetsLost);
  const received = Math.max(0, after.packetsReceived - before.packetsReceived);
  const seconds = Math.max(0.001, (after.atMs - before.atMs) / 1000);
  return {
    rttMs: after.rttMs,
    lossFraction: lost + received === 0 ? 0 : lost / (lost + received),
    freezes: Math.max(0, after.freezeCount - before.freezeCount),
    frozenFraction: Math.max(0, after.freezeSeconds - before.freezeSeconds) / seconds,
  };
}

export function classify(sample: LinkSample): Quality {
  if (exceeds(sample, POOR)) return "poor";
  if (exceeds(sample, FAIR) || sample.freezes > 0) return "fair";
  return "good";
}

const ORDER: readonly Quality[] = ["unknown", "good", "fair", "poor"];

/** The worse of two views of one connection; what is unknown to one is left to the other. */
export function worse(one: Quality, other: Quality): Quality {
  return ORDER.indexOf(one) > ORDER.indexOf(other) ? one : other;
}

function exceeds(sample: LinkSample, limit: typeof FAIR): boolean {
  return (
    (sample.rttMs ?? 0) > limit.rttMs ||
    sample.lossFraction > limit.lossFraction ||
    sample.frozenFraction > limit.frozenFraction
  );
}

/** The members of a stats entry that matter here; browsers leave some of them out. */
interface StatsEntry {
  type: string;
  id: string;
  nominated?: boolean;
  state?: string;
  selectedCandidatePairId?: string;
  currentRoundTripTime?: number;
  packetsReceived?: number;
  packetsLost?: number;
  freezeCount?: number;
  totalFreezesDuration?: number;
}

/** Sums up an `RTCStatsReport` (or anything that iterates over its entries). */
export function readTotals(entries: Iterable<StatsEntry>, atMs: number): LinkTotals {
  const totals = { atMs, packetsReceived: 0, packetsLost: 0, freezeCount: 0, freezeSeconds: 0 };
  let rttMs: number | null = null;
  for (const entry of entries) {
    if (entry.type === "inbound-rtp") addInbound(totals, entry);
    if (isActivePair(entry) && entry.currentRoundTripTime !== undefined) {
      rttMs = entry.currentRoundTripTime * 1000;
    }
  }
  return { ...totals, rttMs };
}

function addInbound(totals: Omit<LinkTotals, "rttMs">, entry: StatsEntry): void {
  totals.packetsReceived += entry.packetsReceived ?? 0;
  totals.packetsLost += entry.packetsLost ?? 0;
  totals.freezeCount += entry.freezeCount ?? 0;
  totals.freezeSeconds += entry.totalFreezesDuration ?? 0;
}

function isActivePair(entry: StatsEntry): boolean {
  return entry.type === "candidate-pair" && entry.nominated === true && entry.state === "succeeded";
}
