import { Emitter } from "./emitter";
import { asTalktimeError, type TalktimeError } from "./errors";
import { type Send, SessionMedia } from "./media";
import { type MeterReading, type MeterStatement, readMeter } from "./meter";
import { Outbox, randomId } from "./outbox";
import { SequenceTracker } from "./sequence";
import { applyEvent } from "./state";
import type {
  Direction,
  MediaKind,
  Message,
  MeterView,
  RecordingView,
  Role,
  ServerEvent,
  ServerEventName,
  ServerEvents,
  SessionState,
  SessionSummary,
  Snapshot,
} from "./wire";

export interface SessionEvents {
  /** State, parties or direction changed. */
  updated: Snapshot;
  meter: MeterStatement;
  started: ServerEvents["meter.started"];
  charged: ServerEvents["meter.charged"];
  low_balance: ServerEvents["meter.low_balance"];
  /** Someone asked for a recording, agreed, declined, took it back or stopped it, or it ended by itself. */
  recording: RecordingView;
  paused: ServerEvents["meter.paused"];
  resumed: ServerEvents["meter.resumed"];
  ended: SessionSummary;
  /** Another device of this expert answered: this one is out. */
  answered_elsewhere: undefined;
  message: Message;
  read: ServerEvents["message.read"];
  typing: { role: Role; typing: boolean };
  /** Joined, or joined again after the connection was lost: events that were missed follow. */
  joined: Snapshot;
  problem: TalktimeError;
}

type Arrived = { name: ServerEventName; event: ServerEvent<ServerEventName> };

/** One call or chat, from ringing to its end, across lost connections and reloads of the page. */
export class CallSession extends Emitter<SessionEvents> {
  readonly media: SessionMedia;
  #snapshot: Snapshot | null = null;
  #statement: MeterStatement | null = null;
  #sequence = new SequenceTracker();
  #joining: Promise<Snapshot> | null = null;
  #held: Arrived[] = [];
  #outbox: Outbox;
  #joined = false;
  #closed = false;

  constructor(
    readonly id: string,
    private readonly send: Send,
    private readonly onClose: (session: CallSession) => void,
  ) {
    super();
    this.media = new SessionMedia(id, send);
    this.media.on("problem", (problem) => this.emit("problem", problem));
    this.#outbox = new Outbox((message) => send("message.send", { session_id: id, ...message }));
  }

  /** Throws before the first `join`. */
  get snapshot(): Snapshot {
    if (!this.#snapshot) throw new Error("join() first");
    return this.#snapshot;
  }

  get state(): SessionState {
    return this.snapshot.state;
  }

  get role(): Role {
    return this.snapshot.role;
  }

  /** What the status line shows now; null before the first join. */
  readMeter(nowMs: number = performance.now()): MeterReading | null {
    return this.#statement && readMeter(this.#statement, nowMs);
  }

  /** Joins, or joins again: what was missed since the last event seen is replayed by the engine. */
  join(): Promise<Snapshot> {
    this.#joining ??= this.#join().finally(() => {
      this.#joining = null;
      this.#release();
    });
    return this.#joining;
  }

  async accept(): Promise<void> {
    this.#learn((await this.send("call.accept", { session_id: this.id })).snapshot);
  }

  async decline(): Promise<void> {
    await this.send("call.decline", { session_id: this.id });
  }

  async cancel(): Promise<void> {
    await this.send("call.cancel", { session_id: this.id });
  }

  /** The expert's start button: publishes what `devices` says, then opens the gate (T21). */
  async start(devices: { audio: boolean; video: boolean } = { audio: true, video: true }): Promise<void> {
    await this.media.devices.open(...wanted(devices));
    // In this order, and the second without waiting for the answer to the first: a journey less.
    const [, { snapshot }] = await Promise.all([
      this.media.announce(),
      this.send("session.start", { session_id: this.id }),
    ]);
    this.#learn(snapshot);
  }

  async end(): Promise<SessionSummary> {
    const { summary } = await this.send("session.end", { session_id: this.id });
    this.#setSnapshot({ ...this.snapshot, state: "ended", summary });
    return summary;
  }

  async setDirection(direction: Direction): Promise<void> {
    await this.send("session.direction", { session_id: this.id, direction });
  }

  setCamera(on: boolean): Promise<void> {
    return this.media.setDevice("video", on);
  }

  setMicrophone(on: boolean): Promise<void> {
    return this.media.setDevice("audio", on);
  }

  /** Asks the other party for consent; asking for what they asked for is consent. */
  async requestRecording(): Promise<void> {
    await this.send("recording.request", { session_id: this.id });
  }

  async consentToRecording(consent: boolean): Promise<void> {
    await this.send("recording.consent", { session_id: this.id, consent });
  }

  /** Ends a recording, or takes a request back. */
  async stopRecording(): Promise<void> {
    await this.send("recording.stop", { session_id: this.id });
  }

  /**
   * Sends a chat message; survives a reconnect, delivered once whatever happens. Sent again with the id of
   * an attempt that was refused, it is still created once.
   */
  sendMessage(body: string, clientMsgId = randomId()): Promise<Message> {
    return this.#outbox.send(clientMsgId, body);
  }

  async markRead(seq: number): Promise<void> {
    await this.send("message.read", { conversation_id: this.snapshot.conversation_id, seq });
  }

  async setTyping(typing: boolean): Promise<void> {
    await this.send("typing", { session_id: this.id, typing });
  }

  /** Messages of this order's conversation, oldest first, before `beforeSeq`. */
  history(beforeSeq: number | null = null, limit = 50): Promise<{ messages: Message[]; more: boolean }> {
    const conversation_id = this.snapshot.conversation_id;
    return this.send("message.history", { conversation_id, before_seq: beforeSeq, limit });
  }

  /** Releases devices and connections; ends nothing on the server. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.media.close();
    this.#outbox.close();
    this.forgetHandlers();
    this.onClose(this);
  }

  /** Joined and not over: it is joined again after a reconnect. */
  get live(): boolean {
    return this.#joined && this.#snapshot?.state !== "ended";
  }

  /** Whether events of this conversation concern this session. */
  belongsTo(conversationId: string): boolean {
    return this.#snapshot?.conversation_id === conversationId;
  }

  /** Called by the client for every server event of this session. */
  receive(name: ServerEventName, event: ServerEvent<ServerEventName>): void {
    if (this.#closed) return;
    if (this.#joining) this.#held.push({ name, event });
    else this.#take({ name, event });
  }

  async #join(): Promise<Snapshot> {
    const askedAfter = this.#sequence.last;
    const { snapshot } = await this.send("session.join", { session_id: this.id, last_seq: askedAfter });
    this.#sequence.joined(askedAfter, snapshot.last_seq);
    this.#joined = true;
    this.#state(snapshot.meter);
    this.#setSnapshot(snapshot);
    this.emit("joined", snapshot);
    if (snapshot.state === "ended") return snapshot;
    this.#outbox.flush();
    if (snapshot.mode !== "text" && this.#publishes()) await this.media.announce().catch(() => undefined);
    return snapshot;
  }

  /** The snapshot in an ack; events that came since may already tell more. */
  #learn(snapshot: Snapshot): void {
    if (snapshot.last_seq < this.#sequence.last) return;
    this.#state(snapshot.meter);
    this.#setSnapshot(snapshot);
  }

  #publishes(): boolean {
    return this.media.devices.get("audio") !== null || this.media.devices.get("video") !== null;
  }

  #release(): void {
    for (const arrived of this.#held.splice(0)) this.#take(arrived);
  }

  #take({ name, event }: Arrived): void {
    const stamped = hasSession(event) ? this.#sequence.take(name, event.seq) : "fresh";
    if (stamped === "duplicate") return;
    if (stamped === "gap")
      this.join().catch((error: unknown) => this.emit("problem", asTalktimeError(error)));
    if (stamped !== "replayed") this.#apply(name, event);
    else if (name === "message.created") this.emit("message", (event as ServerEvent<typeof name>).message);
  }

  #apply(name: ServerEventName, event: ServerEvent<ServerEventName>): void {
    if ("meter" in event) this.#state(event.meter);
    if (isElsewhere(name, event)) {
      this.emit("answered_elsewhere", undefined);
      return;
    }
    if (this.#snapshot) this.#setSnapshot(applyEvent(this.#snapshot, name, event));
    HANDLERS[name]?.call(this, event as never);
  }

  #setSnapshot(next: Snapshot): void {
    const before = this.#snapshot;
    if (next === before) return;
    this.#snapshot = next;
    this.emit("updated", next);
    if (before && differs(before.recording, next.recording)) this.emit("recording", next.recording);
    if (next.summary && !before?.summary) this.#finish(next.summary);
  }

  #finish(summary: SessionSummary): void {
    this.media.close();
    this.#outbox.close();
    this.emit("ended", summary);
  }

  #state(view: MeterView): void {
    this.#statement = { view, receivedAtMs: performance.now() };
    this.emit("meter", this.#statement);
    if (view.state !== "paused") this.#outbox.flush();
  }

  /** For the table below, which may not reach a protected method. */
  publish<N extends keyof SessionEvents>(name: N, value: SessionEvents[N]): void {
    this.emit(name, value);
  }
}

type Handlers = { [N in ServerEventName]?: (this: CallSession, event: ServerEvents[N]) => void };

const HANDLERS: Handlers = {
  "rtc.offer"(event) {
    this.media.handleOffer(event);
  },
  "meter.started"(event) {
    this.publish("started", event);
  },
  "meter.charged"(event) {
    this.publish("charged", event);
  },
  "meter.low_balance"(event) {
    this.publish("low_balance", event);
  },
  "meter.paused"(event) {
    this.publish("paused", event);
  },
  "meter.resumed"(event) {
    this.publish("resumed", event);
  },
  "message.created"(event) {
    this.publish("message", event.message);
  },
  "message.read"(event) {
    this.publish("read", event);
  },
  typing(event) {
    const { role, typing } = event;
    if (role) this.publish("typing", { role, typing });
  },
  "quality.updated"(event) {
    this.media.handleQuality(event);
  },
};

function wanted(devices: Record<MediaKind, boolean>): MediaKind[] {
  return (["audio", "video"] as const).filter((kind) => devices[kind]);
}

function differs(a: RecordingView, b: RecordingView): boolean {
  return a.state !== b.state || a.by !== b.by || a.reason !== b.reason;
}

function hasSession(event: object): boolean {
  return typeof (event as { session_id?: unknown }).session_id === "string";
}

function isElsewhere(name: ServerEventName, event: object): boolean {
  return name === "call.accepted" && (event as { reason?: unknown }).reason === "answered_elsewhere";
}
