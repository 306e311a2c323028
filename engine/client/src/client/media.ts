import { Devices } from "./devices";
import { Emitter } from "./emitter";
import { asTalktimeError, type TalktimeError } from "./errors";
import { watchNetwork } from "./network";
import { type LinkState, type Offer, PeerLink } from "./peer";
import { type Connections, classify, type LinkTotals, type Quality, sampleBetween, worse } from "./quality";
import type { CommandAnswer, CommandBody, CommandName, MediaKind } from "./wire";

export type Send = <N extends CommandName>(name: N, body: CommandBody<N>) => Promise<CommandAnswer<N>>;

export interface MediaEvents {
  local: { kind: MediaKind; track: MediaStreamTrack | null };
  remote: MediaStream;
  link: LinkState;
  /** This party's connection: the worse of what the browser measures and what the engine says. */
  quality: Quality;
  /** Both connections in figures, on every change of level and at least every 10 s of a call. */
  connections: Connections;
  /** Another device of this party carries the call now; joining again takes it back. */
  displaced: undefined;
  problem: TalktimeError;
}

const STATS_EVERY_MS = 2_000;
const RESTART_AT_MOST_EVERY_MS = 4_000;

/** The media half of a session: answers the engine's offers, publishes devices, heals the path. */
export class SessionMedia extends Emitter<MediaEvents> {
  readonly devices = new Devices();
  remoteStream: MediaStream | null = null;
  quality: Quality = "unknown";
  connections: Connections | null = null;
  #measured: Quality = "unknown";
  #peer = new PeerLink();
  #work: Promise<unknown> = Promise.resolve();
  #statsTimer: ReturnType<typeof setInterval> | undefined;
  #restartTimer: ReturnType<typeof setTimeout> | undefined;
  #lastRestartMs = Number.NEGATIVE_INFINITY;
  #totals: LinkTotals | null = null;
  #closed = false;
  readonly #unwatchNetwork = watchNetwork(() => this.restart());

  constructor(
    private readonly sessionId: string,
    private readonly send: Send,
  ) {
    super();
    this.#wire();
  }

  get link(): LinkState {
    return this.#peer.state;
  }

  /** Offers are answered one after the other, whatever their rhythm. */
  handleOffer(offer: Offer): void {
    this.#enqueue(async () => {
      const sdp = await this.#peer.answer(offer);
      await this.send("rtc.answer", { session_id: this.sessionId, leg_id: offer.leg_id, sdp });
    });
    this.#statsTimer ??= setInterval(() => void this.#measure(), STATS_EVERY_MS);
  }

  /** What the engine says of both connections. */
  handleQuality({ own, other }: Connections): void {
    this.connections = { own, other };
    this.emit("connections", this.connections);
    this.#setQuality();
  }

  /** Opens or releases a device and tells the other party; throws `TalktimeError` when it can't be opened. */
  async setDevice(kind: MediaKind, on: boolean): Promise<void> {
    if (on) await this.devices.open(kind);
    else this.devices.close(kind);
    await this.announce();
  }

  /** Tells the engine what this party publishes; also after every reconnect. */
  async announce(): Promise<void> {
    const { devices, sessionId } = this;
    await this.send("track.update", {
      session_id: sessionId,
      audio: devices.get("audio") !== null,
      video: devices.get("video") !== null,
    });
  }

  /** Asks for an ICE restart, at most every few seconds. */
  restart(): void {
    if (this.#closed || this.#peer.state === "closed" || this.#restartTimer) return;
    const waitMs = Math.max(0, this.#lastRestartMs + RESTART_AT_MOST_EVERY_MS - performance.now());
    this.#restartTimer = setTimeout(() => {
      this.#restartTimer = undefined;
      this.#lastRestartMs = performance.now();
      this.send("rtc.restart", { session_id: this.sessionId }).catch((error: unknown) => {
        // Otherwise refused or offline: the next offer comes with the next join.
        if (!this.#closed && asTalktimeError(error).code === "leg_not_found")
          this.emit("displaced", undefined);
      });
    }, waitMs);
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#statsTimer);
    clearTimeout(this.#restartTimer);
    this.#unwatchNetwork();
    this.devices.dispose();
    this.#peer.close();
    this.forgetHandlers();
  }

  #wire(): void {
    this.#peer.on("remote", (stream) => {
      this.remoteStream = stream;
      this.emit("remote", stream);
    });
    this.#peer.on("state", (state) => this.emit("link", state));
    this.#peer.on("trouble", () => this.restart());
    this.devices.on("changed", ({ kind, track, lost }) => {
      this.#enqueue(() => this.#peer.setTrack(kind, track));
      this.emit("local", { kind, track });
      if (lost) this.announce().catch(() => undefined);
    });
  }

  #enqueue(task: () => Promise<void>): void {
    this.#work = this.#work.then(task).catch((error: unknown) => {
      if (!this.#closed) this.emit("problem", asTalktimeError(error));
    });
  }

  async #measure(): Promise<void> {
    const before = this.#totals;
    this.#totals = await this.#peer.totals(performance.now()).catch(() => null);
    if (!before || !this.#totals || this.#peer.state !== "connected") return;
    this.#measured = classify(sampleBetween(before, this.#totals));
    this.#setQuality();
  }

  #setQuality(): void {
    const quality = worse(this.#measured, this.connections?.own.level ?? "unknown");
    if (quality === this.quality) return;
    this.quality = quality;
    this.emit("quality", quality);
  }
}
