import { h } from "../page/dom";
import { errorText } from "../page/notices";
import type { LoginAnswer, User } from "../page/rest";
import { Scope } from "../page/signal";
import { storage } from "../page/storage";
import { t } from "../page/strings";
import { DEMO_PASSWORD, demoEmail, signInView } from "../page/views/sign-in";
import { button } from "../page/widgets";
import { accountPage } from "./account";
import { StoreApi } from "./api";
import { casePage } from "./case";
import { comparePage } from "./compare";
import { deskPage } from "./desk";
import { expertPage } from "./expert";
import { findPage } from "./find";
import { inboxPage, talkPage } from "./inbox";
import { listingPage } from "./listing";
import { listingFormPage } from "./listing-form";
import { orderPage } from "./order";
import { ordersPage } from "./orders";
import { linkButton, pageHead } from "./parts";
import { requestPage, requestsPage } from "./requests";
import type { Category, Market } from "./rest";
import { shell } from "./shell";
import { Store } from "./store";
import { walletPage } from "./wallet";
import { w } from "./words";

/** A page: `rest` is what follows its name in the address. */
type View = (store: Store, scope: Scope, rest: string) => HTMLElement;

interface Place {
  view: View;
  /** The entry of the navigation that it belongs to. */
  tab: string;
  open?: true;
}

const PLACES: Record<string, Place> = {
  "": { view: findPage, tab: "", open: true },
  listing: { view: listingPage, tab: "", open: true },
  expert: { view: expertPage, tab: "", open: true },
  compare: { view: comparePage, tab: "", open: true },
  orders: { view: (store, scope) => ordersPage(store, scope, "customer"), tab: "orders" },
  sales: { view: (store, scope) => ordersPage(store, scope, "expert"), tab: "sales" },
  order: { view: orderPage, tab: "orders" },
  case: { view: casePage, tab: "inbox" },
  requests: { view: requestsPage, tab: "requests" },
  request: { view: requestPage, tab: "requests" },
  desk: { view: deskPage, tab: "desk" },
  edit: { view: listingFormPage, tab: "desk" },
  inbox: { view: inboxPage, tab: "inbox" },
  talk: { view: talkPage, tab: "inbox" },
  wallet: { view: walletPage, tab: "wallet" },
};

/** Who is signed in has no use for these. */
const ENTRANCES = new Set(["sign-in", "register", "forgot"]);
const FROM_MAIL = new Set(["verify-email", "reset-password"]);

/** The storefront: browsed by anybody, the rest once signed in. */
class Main {
  readonly #root = document.querySelector<HTMLElement>("#app") ?? document.body;
  readonly #api = new StoreApi(storage.token.get());
  #market: [Market, Category[]] | null = null;
  #store: Store | null = null;
  #view = new Scope();
  #reason: string | undefined;

  async run(): Promise<void> {
    this.#api.onUnauthorized = () => this.#signOut(t.signIn.expired);
    followMailLink();
    window.addEventListener("hashchange", () => this.#draw(true));
    try {
      const market = await this.#api.market();
      this.#market = [market, await this.#api.categories(market.locales[0] ?? "en")];
      const demo = takeDemoRole();
      if (demo) await this.#signIn(await this.#api.login(demoEmail(demo), DEMO_PASSWORD));
      else await this.#enter(this.#api.token ? await this.#api.me() : null);
    } catch (error) {
      if (!this.#store) this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    const retry = button(t.retry, { kind: "primary", action: () => this.run() });
    this.#root.replaceChildren(
      h("main", { class: "empty", role: "alert" }, h("p", {}, errorText(error)), retry),
    );
  }

  async #signIn({ access_token, user }: LoginAnswer): Promise<void> {
    storage.token.set(access_token);
    this.#api.token = access_token;
    const [page, given] = location.hash.split("?");
    const to = new URLSearchParams(given).get("to") ?? "";
    if (page === "#/sign-in") history.replaceState(null, "", `#/${to}`);
    await this.#enter(user);
  }

  async #enter(user: User | null): Promise<void> {
    if (!this.#market) return;
    this.#store?.stop();
    const store = new Store(this.#api, ...this.#market, user, (reason) => this.#signOut(reason));
    this.#store = store;
    await store.start();
    this.#draw();
  }

  #signOut(reason?: string): void {
    this.#api.token = null;
    storage.token.set(null);
    storage.sessionId.set(null);
    storage.devices.set(null);
    this.#reason = reason;
    void this.#enter(null);
  }

  #draw(moved = false): void {
    const store = this.#store;
    if (!store) return;
    this.#view.end();
    this.#view = new Scope();
    const [path = ""] = location.hash.replace(/^#\/?/, "").split("?");
    const [first = "", ...rest] = path.split("/");
    const name = store.user && ENTRANCES.has(first) ? "" : first;
    const place = PLACES[name];
    // A link from a mail counts whoever is signed in here.
    const account = store.user && !FROM_MAIL.has(name) ? null : accountPage(this.#api, store.market, name);
    if (account) {
      this.#root.replaceChildren(account);
      return;
    }
    if (!store.user && (name === "sign-in" || (place && !place.open))) {
      this.#drawSignIn();
      return;
    }
    const view = place?.view(store, this.#view, rest.join("/")) ?? nowhere();
    this.#root.replaceChildren(shell(store, this.#view, place?.tab ?? "", view));
    if (moved) this.#arrive();
  }

  /** On a new page reading begins at its top. */
  #arrive(): void {
    scrollTo(0, 0);
    const main = this.#root.querySelector<HTMLElement>("main");
    main?.setAttribute("tabindex", "-1");
    main?.focus({ preventScroll: true });
  }

  #drawSignIn(): void {
    const signedIn = (answer: LoginAnswer) => this.#signIn(answer);
    const { title = "", tagline = "" } = this.#market?.[0] ?? {};
    const view = signInView(this.#api, signedIn, this.#reason, { product: title, tagline });
    this.#reason = undefined;
    const link = (href: string, text: string) => h("a", { href }, text);
    const links = [link("#/register", w.account.register), link("#/forgot", w.account.forgot)];
    view.firstElementChild?.append(h("p", { class: "row wrap" }, ...links, link("#/", w.toCatalogue)));
    this.#root.replaceChildren(view);
  }
}

function nowhere(): HTMLElement {
  return h("div", {}, pageHead(w.notFound), linkButton(w.toCatalogue, "#/"));
}

const MAIL_LINKS: Record<string, string> = {
  orders: "order",
  requests: "request",
  listings: "edit",
  messages: "talk",
  reviews: "sales",
  proposals: "requests",
  cases: "case",
  notifications: "inbox",
  application: "desk",
};

/** Mails link to pages by their path, `/orders/…`, `/verify-email?token=…`: here these are `/store#/…`. */
function followMailLink(): void {
  const [first = "", ...rest] = location.pathname.split("/").filter(Boolean);
  if (first === "store" || first === "") return;
  const path = [MAIL_LINKS[first] ?? first, ...rest].join("/");
  history.replaceState(null, "", `/store#/${path}${location.search}`);
}

/** `/store?demo=customer`: signs in by the demo account, once; a reload then keeps the tab's own token. */
function takeDemoRole(): string | null {
  const given = new URLSearchParams(location.search);
  const role = given.get("demo");
  if (!role || !/^[a-z]{2,20}$/.test(role)) return null;
  history.replaceState(null, "", `${location.pathname}?demo${location.hash}`);
  return role;
}

void new Main().run();
