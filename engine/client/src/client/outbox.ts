import { TalktimeError } from "./errors";
import type { Message } from "./wire";

interface Draft {
  client_msg_id: string;
  body: string;
}

interface Pending extends Draft {
  resolve: (message: Message) => void;
  reject: (error: unknown) => void;
  inFlight: boolean;
  /** Something called for it while it was in flight: what it is refused for may be over by then. */
  again: boolean;
}

type Deliver = (draft: Draft) => Promise<{ message: Message }>;

/**
 * Refusals that say nothing about the message itself: it stays and is sent again after the next join,
 * and when the clock of a text session runs on.
 */
const WAITING_CODES = new Set(["offline", "timeout", "session_paused"]);

/**
 * Chat messages on their way. Each carries an id of its own, so that sending it again after a lost
 * connection creates it once.
 */
export class Outbox {
  #pending: Pending[] = [];

  constructor(private readonly deliver: Deliver) {}

  send(client_msg_id: string, body: string): Promise<Message> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ client_msg_id, body, resolve, reject, inFlight: false, again: false });
      this.flush();
    });
  }

  /** Sends whatever still waits, in the order it was written. */
  flush(): void {
    for (const pending of this.#pending) {
      if (pending.inFlight) pending.again = true;
      else void this.#try(pending);
    }
  }

  close(): void {
    for (const { reject } of this.#pending.splice(0)) {
      reject(new TalktimeError("session_ended", "The session ended before the message was sent."));
    }
  }

  async #try(pending: Pending): Promise<void> {
    pending.inFlight = true;
    pending.again = false;
    try {
      const { client_msg_id, body } = pending;
      const { message } = await this.deliver({ client_msg_id, body });
      this.#settle(pending, () => pending.resolve(message));
    } catch (error) {
      pending.inFlight = false;
      const waits = error instanceof TalktimeError && WAITING_CODES.has(error.code);
      if (!waits) this.#settle(pending, () => pending.reject(error));
      else if (pending.again) void this.#try(pending);
    }
  }

  #settle(pending: Pending, conclude: () => void): void {
    this.#pending = this.#pending.filter((other) => other !== pending);
    conclude();
  }
}

/** 128 random bits; `crypto.randomUUID` is missing on pages that are not served securely. */
export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}
