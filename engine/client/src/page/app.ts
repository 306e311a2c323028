import { type CallSession, type PresenceView, TalktimeClient, type TalktimeError } from "../client";
import type { Api } from "./api";
import { keepDevices, keptDevices, restoreDevices } from "./call/keep-devices";
import { announce, clearToasts, toast, toastError } from "./notices";
import type { Order, User, Wallet } from "./rest";
import { RingingCalls } from "./ringing";
import { Scope, Signal } from "./signal";
import { Sounds } from "./sounds";
import { storage } from "./storage";
import { t } from "./strings";

/** What the views share while one user is signed in. */
export class App {
  readonly client = new TalktimeClient();
  readonly sounds = new Sounds();
  readonly scope = new Scope();
  readonly wallet = new Signal<Wallet | null>(null);
  readonly presence = new Signal<ReadonlyMap<string, PresenceView>>(new Map());
  readonly orders = new Signal<Order[] | null>(null);
  readonly sales = new Signal<Order[] | null>(null);
  readonly call = new Signal<CallSession | null>(null);
  readonly ringing: RingingCalls;

  constructor(
    readonly api: Api,
    readonly user: User,
    readonly onSignOut: (reason?: string) => void,
  ) {
    this.ringing = new RingingCalls(this);
  }

  get isExpert(): boolean {
    return this.user.roles.includes("expert");
  }

  /** Connects, loads what every view needs and returns to a session that still runs. */
  async start(): Promise<void> {
    this.#listen();
    await this.client.connect({ token: () => this.api.token ?? "" });
    await Promise.all([this.refreshWallet(), this.refreshOrders()]);
    await this.#resume();
  }

  stop(): void {
    this.sounds.stop();
    this.call.set(null);
    this.client.close();
    this.scope.end();
  }

  async refreshWallet(): Promise<void> {
    this.wallet.set(await this.api.wallet());
  }

  async refreshOrders(): Promise<void> {
    const [orders, sales] = await Promise.all([
      this.api.orders("customer"),
      this.isExpert ? this.api.orders("expert") : [],
    ]);
    this.orders.set(orders);
    this.sales.set(sales);
    await this.watchExperts(orders.filter(isOpen).map(({ expert }) => expert.id));
  }

  async watchExperts(expertIds: string[]): Promise<void> {
    const unknown = [...new Set(expertIds)].filter((id) => !this.presence.value.has(id));
    if (unknown.length === 0) return;
    this.#notePresence(await this.client.subscribePresence(unknown));
  }

  /** Shows a session and remembers it, so that a reload comes back to it. */
  enter(session: CallSession): void {
    storage.sessionId.set(session.id);
    keepDevices(session);
    clearToasts();
    this.sounds.stop();
    this.call.set(session);
  }

  /** Leaves the call page; an ended session is forgotten. */
  leave(): void {
    storage.sessionId.set(null);
    this.call.value?.close();
    this.call.set(null);
    this.refresh();
  }

  /** Reloads wallet and orders; what can't be loaded now is shown as it was. */
  refresh(): void {
    Promise.all([this.refreshWallet(), this.refreshOrders()]).catch(toastError);
  }

  async rejoin(sessionId: string): Promise<void> {
    const session = this.client.session(sessionId);
    const snapshot = await session.join();
    if (snapshot.state === "ended") session.close();
    else if (snapshot.state === "ringing" && snapshot.role === "expert") this.ringing.adopt(session);
    else {
      const kept = keptDevices(sessionId);
      this.enter(session);
      restoreDevices(session, kept).catch(toastError);
    }
  }

  #listen(): void {
    const { client, scope } = this;
    scope.add(client.on("presence.updated", (presence) => this.#notePresence([presence])));
    scope.add(
      client.on("wallet.updated", ({ currency, available_minor, held_minor, earned_minor }) =>
        this.wallet.set({
          available: { amount: available_minor, currency },
          held: { amount: held_minor, currency },
          earned: { amount: earned_minor, currency },
        }),
      ),
    );
    scope.add(client.on("error", ({ code, message }) => toastError({ code, message } as TalktimeError)));
    scope.add(client.on("refused", () => this.onSignOut(t.signIn.expired)));
    this.#listenConnection();
  }

  #listenConnection(): void {
    let lost = false;
    this.scope.add(
      this.client.on("connection", (state) => {
        if (state === "reconnecting") {
          lost = true;
          announce(t.connection.reconnecting, true);
        }
        if (state === "connected" && lost) {
          lost = false;
          toast(t.connection.restored);
          this.refresh();
        }
      }),
    );
  }

  #notePresence(views: PresenceView[]): void {
    const next = new Map(this.presence.value);
    for (const view of views) next.set(view.expert_id, view);
    this.presence.set(next);
  }

  /** After a reload: every session that still runs or rings, the one this tab showed last on top. */
  async #resume(): Promise<void> {
    const orders = [...(this.orders.value ?? []), ...(this.sales.value ?? [])];
    const live = orders.map((order) => order.live_session_id);
    const ids = new Set([...live, storage.sessionId.get()].filter((id) => id !== null));
    for (const id of ids) {
      if (!this.ringing.has(id)) await this.rejoin(id).catch(() => storage.sessionId.set(null));
    }
  }
}

export function isOpen(order: Order): boolean {
  return order.state === "open" || order.state === "pending_payment" || order.state === "disputed";
}
