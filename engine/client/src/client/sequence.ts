import { TRANSIENT_EVENTS } from "./wire";

/**
 * `fresh`: apply it. `replayed`: new to us but already contained in the snapshot we joined with.
 * `duplicate`: seen before. `gap`: apply it, but something before it is missing: join again.
 */
export type Verdict = "fresh" | "replayed" | "duplicate" | "gap";

/** Follows one session's `seq` (from 1, without gaps but for events that are never replayed). */
export class SequenceTracker {
  #last = 0;
  #snapshotSeq = 0;

  /** The newest `seq` seen: what `session.join` is asked to replay after. */
  get last(): number {
    return this.#last;
  }

  /**
   * The answer to a join that asked for what follows `askedAfter`: its snapshot contains everything up to
   * `lastSeq`. A smaller `lastSeq` than we asked for means that the engine started counting anew.
   */
  joined(askedAfter: number, lastSeq: number): void {
    if (lastSeq < askedAfter) this.#last = lastSeq;
    this.#snapshotSeq = lastSeq;
  }

  /**
   * One event. Those that are never replayed are always applied: what is one device's own (`rtc.offer`) bears
   * the number of the event that the party's other devices get instead, and may come after it.
   */
  take(event: string, seq: number): Verdict {
    const transient = TRANSIENT_EVENTS.has(event);
    if (seq <= this.#last) return transient ? "fresh" : "duplicate";
    const expected = Math.max(this.#last, this.#snapshotSeq) + 1;
    this.#last = seq;
    if (seq <= this.#snapshotSeq) return transient ? "fresh" : "replayed";
    return seq > expected ? "gap" : "fresh";
  }
}
