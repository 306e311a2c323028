import { type IncomingCall, type PresenceView, TalktimeClient } from "../client";
import type { TalktimeError } from "../client/errors";
import { language } from "../page/language";
import { toastError } from "../page/notices";
import type { User, Wallet } from "../page/rest";
import { Scope, Signal } from "../page/signal";
import { t } from "../page/strings";
import type { Marked, StoreApi } from "./api";
import { turns } from "./parts";
import type { Category, ExpertCard, Market } from "./rest";

/** So many are compared at once (P5). */
export const MOST_COMPARED = 4;

/** What the views share: the marketplace, and who looks at it, if that is known. */
export class Store {
  readonly client = new TalktimeClient();
  readonly scope = new Scope();
  readonly wallet = new Signal<Wallet | null>(null);
  readonly presence = new Signal<ReadonlyMap<string, PresenceView>>(new Map());
  readonly unread = new Signal(0);
  /** How many notifications are unread. */
  readonly notices = new Signal(0);
  /** As `type/id`. */
  readonly favourites = new Signal<ReadonlySet<string>>(new Set());
  /** The entry of the navigation that the current page belongs to; some pages learn it as they load. */
  readonly tab = new Signal("");
  readonly compared = new Signal<readonly string[]>([]);
  /** Calls that ring at this expert: they are answered on the call page. */
  readonly calls = new Signal<readonly IncomingCall[]>([]);

  readonly #beginCount = turns();

  constructor(
    readonly api: StoreApi,
    readonly market: Market,
    /** In the language that is spoken. */
    public categories: Category[],
    readonly user: User | null,
    readonly onSignOut: (reason?: string) => void,
  ) {}

  get isExpert(): boolean {
    return this.user?.roles.includes("expert") ?? false;
  }

  /** The language in which texts are asked for; a listing without it answers in its own. */
  get locale(): string {
    return textLocale(this.market, this.user);
  }

  /** Whether somebody is; guests are led to the sign-in, and back here by it. */
  signedIn(): boolean {
    if (!this.user) {
      location.hash = `#/sign-in?to=${encodeURIComponent(location.hash.replace(/^#\/?/, ""))}`;
    }
    return this.user !== null;
  }

  categoryName(slug: string): string {
    const all = this.categories.flatMap((category) => [category, ...category.children]);
    return all.find((category) => category.slug === slug)?.name ?? slug;
  }

  async start(): Promise<void> {
    if (!this.user) return;
    this.#listen();
    await this.client.connect({ token: () => this.api.token ?? "" });
    await Promise.all([
      this.refreshWallet(),
      this.refreshUnread(),
      this.refreshNotices(),
      this.#refreshFavourites(),
    ]);
  }

  stop(): void {
    this.client.close();
    this.scope.end();
  }

  async refreshWallet(): Promise<void> {
    this.wallet.set(await this.api.wallet());
  }

  /** How many conversations have something new, as far as the badge counts. */
  async refreshUnread(): Promise<void> {
    const counts = this.#beginCount();
    const { items } = await this.api.conversations({ unread: true, limit: 100 });
    if (counts()) this.unread.set(items.reduce((sum, { unread }) => sum + unread, 0));
  }

  async refreshNotices(): Promise<void> {
    this.notices.set((await this.api.notifications({ limit: 1 })).unread);
  }

  /** Without `ids` all of them. */
  async readNotifications(ids?: string[]): Promise<void> {
    this.notices.set((await this.api.readNotifications(ids)).unread);
  }

  async #refreshFavourites(): Promise<void> {
    const { items } = await this.api.favourites();
    this.favourites.set(new Set(items.map(({ type, id }) => `${type}/${id}`)));
  }

  /** Makes it a favourite, or none any more if it is one. */
  async markFavourite(type: Marked, id: string): Promise<void> {
    const key = `${type}/${id}`;
    const on = !this.favourites.value.has(key);
    await this.api.setFavourite(type, id, on);
    const next = new Set(this.favourites.value);
    if (on) next.add(key);
    else next.delete(key);
    this.favourites.set(next);
  }

  /** Follows these experts' presence; without a connection cards show what the list said. */
  watchExperts(experts: ExpertCard[]): void {
    const ids = [...new Set(experts.map(({ id }) => id))].filter((id) => !this.presence.value.has(id));
    if (!this.user || ids.length === 0) return;
    this.client
      .subscribePresence(ids)
      .then((views) => this.#notePresence(views))
      .catch(toastError);
  }

  #listen(): void {
    const { client, scope } = this;
    scope.add(client.on("presence.updated", (view) => this.#notePresence([view])));
    scope.add(
      client.on("wallet.updated", ({ currency, available_minor, held_minor, earned_minor }) =>
        this.wallet.set({
          available: { amount: available_minor, currency },
          held: { amount: held_minor, currency },
          earned: { amount: earned_minor, currency },
        }),
      ),
    );
    scope.add(client.on("message.created", () => void this.refreshUnread().catch(() => undefined)));
    scope.add(client.on("notification.created", () => void this.refreshNotices().catch(() => undefined)));
    scope.add(client.on("call.incoming", (call) => this.#ring(call)));
    const ended = ({ session_id }: { session_id: string | null }) => this.#silence(session_id);
    scope.add(client.on("call.canceled", ended));
    scope.add(client.on("call.no_answer", ended));
    scope.add(client.on("call.accepted", ended));
    scope.add(client.on("call.declined", ended));
    scope.add(client.on("error", ({ code, message }) => toastError({ code, message } as TalktimeError)));
    scope.add(client.on("refused", () => this.onSignOut(t.signIn.expired)));
  }

  /** Calls `then` when the user is told something about such things, about this one if it is named. */
  onNews(scope: Scope, types: string[], then: () => void, id?: string): void {
    scope.add(
      this.client.on("notification.created", ({ subject_type, subject_id }) => {
        if (types.includes(subject_type) && (id === undefined || id === subject_id)) then();
      }),
    );
  }

  #ring(call: IncomingCall): void {
    this.calls.set([...this.calls.value, call]);
    setTimeout(() => this.#silence(call.session_id), call.expires_in_ms);
  }

  #silence(sessionId: string | null): void {
    this.calls.set(this.calls.value.filter(({ session_id }) => session_id !== sessionId));
  }

  #notePresence(views: PresenceView[]): void {
    const next = new Map(this.presence.value);
    for (const view of views) next.set(view.expert_id, view);
    this.presence.set(next);
  }
}

/** What texts are read in: the spoken language if the marketplace has it, else the account's. */
export function textLocale(market: Market, user: User | null): string {
  const [first = "en"] = market.locales;
  const wanted = [language(), user?.locale ?? first];
  return wanted.find((locale) => market.locales.includes(locale)) ?? first;
}
