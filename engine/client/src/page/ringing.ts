import type { CallSession, IncomingCall } from "../client";
import type { App } from "./app";
import { announce, toast } from "./notices";
import { Signal } from "./signal";
import { t } from "./strings";

export interface RingingCall {
  session: CallSession;
  call: IncomingCall;
  expiresAtMs: number;
}

/** The engine tells when a call stopped ringing; past this its card goes even if that message was lost. */
const EXPIRY_SLACK_MS = 5_000;

/** The calls that ring at this expert: each device joins at once, so that answering is instant (Tm). */
export class RingingCalls {
  readonly list = new Signal<RingingCall[]>([]);
  /** As the engine counts them, over all devices (T15). */
  readonly count = new Signal(0);

  constructor(private readonly app: App) {
    const { client, scope } = app;
    scope.add(client.on("call.incoming", (call) => this.#add(client.session(call.session_id), call)));
    scope.add(client.on("call.pending", ({ count }) => this.count.set(count)));
    this.count.watch(scope, (count) => {
      document.title = count > 0 ? t.desk.documentTitle(count) : t.product;
    });
    this.list.watch(scope, () => this.#sound());
    app.call.watch(scope, () => this.#sound());
  }

  has(sessionId: string): boolean {
    return this.list.value.some(({ session }) => session.id === sessionId);
  }

  /** A call that was already ringing when this page was loaded. */
  adopt(session: CallSession): void {
    const { order_id, title, customer, mode, direction, ring_expires_in_ms } = session.snapshot;
    this.#add(session, {
      session_id: session.id,
      order_id,
      title,
      from_name: customer.display_name,
      mode,
      direction,
      alert: this.app.user.presence_status === "available" ? "sound" : "silent",
      expires_in_ms: ring_expires_in_ms ?? 0,
    });
  }

  async answer({ session, call }: RingingCall, startNow: boolean): Promise<void> {
    const video = call.mode === "video";
    const start = () => session.start({ audio: true, video });
    const wanted = startNow && call.mode !== "text";
    const accepted = session.accept();
    // The devices open while the answer is on its way, and starting does not wait for what the engine says to it.
    const started = wanted && session.live ? start() : null;
    started?.catch(() => undefined); // heard below, if there is a call to be started
    await accepted;
    if (!session.live) await session.join();
    this.#remove(session);
    this.app.enter(session);
    if (wanted) await (started ?? start());
  }

  async decline({ session }: RingingCall): Promise<void> {
    await session.decline();
    this.#drop(session);
  }

  #add(session: CallSession, call: IncomingCall): void {
    if (this.has(session.id)) return;
    const expiresAtMs = performance.now() + call.expires_in_ms;
    this.list.set([...this.list.value, { session, call, expiresAtMs }]);
    this.count.set(Math.max(this.count.value, this.list.value.length));
    announce(t.desk.incoming(call.from_name), true);
    session.on("answered_elsewhere", () => {
      if (this.#drop(session)) toast(t.desk.elsewhere);
    });
    session.on("ended", ({ reason }) => {
      if (this.#drop(session) && reason !== "declined") toast(t.desk.missed(call.from_name));
    });
    // A refused join keeps the card: the engine still decides about the answer.
    session.join().catch(() => undefined);
    setTimeout(() => this.#drop(session), call.expires_in_ms + EXPIRY_SLACK_MS);
  }

  /** True if it was still ringing here. */
  #drop(session: CallSession): boolean {
    if (!this.#remove(session)) return false;
    session.close();
    return true;
  }

  #remove(session: CallSession): boolean {
    if (!this.has(session.id)) return false;
    this.list.set(this.list.value.filter((ringing) => ringing.session !== session));
    if (this.list.value.length === 0) this.count.set(0);
    return true;
  }

  /** Calls that come in during a call are only shown. */
  #sound(): void {
    const audible = this.list.value.some(({ call }) => call.alert === "sound") && !this.app.call.value;
    if (audible) this.app.sounds.ring("incoming");
    else this.app.sounds.stop();
  }
}
