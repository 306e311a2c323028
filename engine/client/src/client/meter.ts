import type { MeterState, MeterView } from "./wire";

/** How far beyond its last statement the view runs on: the engine states every change, and once a minute. */
export const MAX_RUN_ON_MS = 75_000;

export interface MeterStatement {
  view: MeterView;
  /** Local monotonic instant at which the statement arrived. */
  receivedAtMs: number;
}

/** What the status line shows at one instant. */
export interface MeterReading {
  state: MeterState;
  elapsedMs: number;
  chargedMinor: number;
  currency: string;
  secondsLeft: number | null;
  nextChargeInMs: number | null;
  graceLeftMs: number | null;
  balanceMinor: number | null;
  earnedMinor: number | null;
}

/**
 * The meter at `nowMs`: the last statement, run on while the clock runs.
 *
 * Blocks that begin in between are shown as charged and earned, as far as the customer's money goes, by the
 * engine's own arithmetic. The balance is as stated: the engine states it again with every hold.
 */
export function readMeter({ view, receivedAtMs }: MeterStatement, nowMs: number): MeterReading {
  const ranMs = isRunning(view.state) ? clamp(nowMs - receivedAtMs, 0, MAX_RUN_ON_MS) : 0;
  const servedMs = view.seconds_left === null ? ranMs : Math.min(ranMs, view.seconds_left * 1000);
  const blocks = blocksBegun(view, servedMs);
  const chargedMinor = blocks > view.billed_blocks ? dueMinor(view, blocks) : view.charged_minor;
  return {
    state: stateAfter(view, servedMs),
    elapsedMs: view.elapsed_ms + servedMs,
    chargedMinor,
    currency: view.currency,
    secondsLeft: view.seconds_left === null ? null : Math.max(0, view.seconds_left - servedMs / 1000),
    nextChargeInMs: nextCharge(view, servedMs, blocks),
    graceLeftMs: view.grace_left_ms === null ? null : Math.max(0, view.grace_left_ms - servedMs),
    balanceMinor: view.balance_minor,
    earnedMinor:
      view.commission_bps === null ? null : chargedMinor - share(chargedMinor, view.commission_bps, 10_000),
  };
}

function isRunning(state: MeterState): boolean {
  return state === "grace" || state === "running";
}

function inGrace(view: MeterView, servedMs: number): boolean {
  return view.grace_left_ms !== null && servedMs <= view.grace_left_ms;
}

/** How many blocks have begun after `servedMs` more of service; none counts within the free minute. */
function blocksBegun(view: MeterView, servedMs: number): number {
  if (servedMs === 0 || inGrace(view, servedMs)) return view.billed_blocks;
  return Math.max(view.billed_blocks, Math.ceil((view.elapsed_ms + servedMs) / blockMs(view)));
}

function dueMinor(view: MeterView, blocks: number): number {
  return share(view.price_minor, blocks * view.block_seconds, view.per_seconds);
}

/** `floor(amount * part / whole)`, exactly: the product may not fit into a number. */
function share(amount: number, part: number, whole: number): number {
  return Number((BigInt(amount) * BigInt(part)) / BigInt(whole));
}

function nextCharge(view: MeterView, servedMs: number, blocks: number): number | null {
  if (view.next_charge_in_ms === null) return null;
  if (blocks === view.billed_blocks) return Math.max(0, view.next_charge_in_ms - servedMs);
  return blocks * blockMs(view) - view.elapsed_ms - servedMs;
}

function blockMs(view: MeterView): number {
  return view.block_seconds * 1000;
}

function stateAfter(view: MeterView, ms: number): MeterState {
  const graceOver = view.state === "grace" && view.grace_left_ms !== null && ms > view.grace_left_ms;
  return graceOver ? "running" : view.state;
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
