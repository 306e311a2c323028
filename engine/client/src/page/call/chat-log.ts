import type { Message } from "../../client";

export interface Draft {
  /** The message's `client_msg_id`. */
  key: string;
  body: string;
  failed: boolean;
}

/** A conversation's messages, each once and in order, and what is still on its way. */
export class ChatLog {
  #bySeq = new Map<number, Message>();
  #drafts = new Map<string, Draft>();

  get messages(): Message[] {
    return [...this.#bySeq.values()].sort((a, b) => a.seq - b.seq);
  }

  get drafts(): Draft[] {
    return [...this.#drafts.values()];
  }

  get firstSeq(): number | null {
    return this.messages[0]?.seq ?? null;
  }

  get lastSeq(): number {
    return this.messages.at(-1)?.seq ?? 0;
  }

  /** False if it was there already. A draft that became it goes, whatever its sender was told. */
  add(message: Message): boolean {
    if (message.client_msg_id !== null) this.#drafts.delete(message.client_msg_id);
    const known = this.#bySeq.has(message.seq);
    this.#bySeq.set(message.seq, message);
    return !known;
  }

  draft(key: string, body: string): void {
    this.#drafts.set(key, { key, body, failed: false });
  }

  sent(key: string, message: Message): void {
    this.#drafts.delete(key);
    this.add(message);
  }

  failed(key: string): void {
    const draft = this.#drafts.get(key);
    if (draft) draft.failed = true;
  }

  /** Messages of others that came after `seq`. */
  unreadAfter(seq: number, ownId: string): number {
    return this.messages.filter((message) => message.seq > seq && message.author_id !== ownId).length;
  }
}
