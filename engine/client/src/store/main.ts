import { h } from "../page/dom";
import type { Language } from "../page/language";
import { errorText, toastError } from "../page/notices";
import type { LoginAnswer, User } from "../page/rest";
import { Scope } from "../page/signal";
import { focusSwitch, languageSwitch, markDocument, preferredLanguage } from "../page/speech";
import { storage } from "../page/storage";
import { speak, t } from "../page/strings";
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
import { pageOf } from "./links";
import { listingPage } from "./listing";
import { listingFormPage } from "./listing-form";
import { favouritesPage } from "./marks";
import { notificationsPage } from "./notifications";
import { orderPage } from "./order";
import { ordersPage } from "./orders";
import { linkButton, pageHead } from "./parts";
import { requestPage, requestsPage } from "./requests";
import type { Category, Market } from "./rest";
import { settingsPage } from "./settings";
import { shell } from "./shell";
import { Store, textLocale } from "./store";
import { walletPage } from "./wallet";
import { speakStore, w } from "./words";

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
  // It is an order or a sale: that shows when it is loaded.
  order: { view: orderPage, tab: "order" },
  case: { view: casePage, tab: "inbox" },
  requests: { view: requestsPage, tab: "requests" },
  request: { view: requestPage, tab: "requests" },
  desk: { view: deskPage, tab: "desk" },
  edit: { view: listingFormPage, tab: "desk" },
  inbox: { view: inboxPage, tab: "inbox" },
  talk: { view: talkPage, tab: "inbox" },
  wallet: { view: walletPage, tab: "wallet" },
  favourites: { view: favouritesPage, tab: "favourites" },
  notifications: { view: notificationsPage, tab: "notifications" },
  account: { view: settingsPage, tab: "account" },
};

/** Who is signed in has no use for these. */
const ENTRANCES = new Set(["sign-in", "register", "forgot"]);
const FROM_MAIL = new Set(["verify-email", "reset-password"]);

/** The storefront: browsed by anybody, the rest once signed in. */
class Main {
  readonly #root = document.querySelector<HTMLElement>("#app") ?? document.body;
  readonly #api = new StoreApi(storage.token.get());
  #market: Market | null = null;
  readonly #categories = new Map<string, Category[]>();
  #store: Store | null = null;
  #view = new Scope();
  #reason: string | undefined;

  async run(): Promise<void> {
    this.#api.onUnauthorized = () => this.#signOut(t.signIn.expired);
    this.#adopt(null);
    followMailLink();
    window.addEventListener("hashchange", () => this.#draw(true));
    try {
      this.#market = await this.#api.market();
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
    const market = this.#market;
    if (!market) return;
    this.#store?.stop();
    this.#adopt(user);
    const categories = await this.#categoriesIn(textLocale(market, user));
    const store = new Store(this.#api, market, categories, user, (reason) => this.#signOut(reason));
    this.#store = store;
    await store.start();
    this.#draw();
  }

  async #categoriesIn(locale: string): Promise<Category[]> {
    const known = this.#categories.get(locale) ?? (await this.#api.categories(locale));
    this.#categories.set(locale, known);
    return known;
  }

  #adopt(user: User | null): void {
    const wishes = { chosen: storage.language.get(), account: user?.locale ?? null };
    const known = { browser: navigator.languages, market: this.#market?.locales };
    adoptLanguage(preferredLanguage({ ...wishes, ...known }));
  }

  /** The language is remembered; the account has it too if it can, so that mails and notices follow. */
  async #choose(code: Language): Promise<void> {
    storage.language.set(code);
    adoptLanguage(code);
    const store = this.#store;
    if (!store) return;
    try {
      if (store.user && store.market.locales.includes(code)) {
        store.user.locale = (await this.#api.setLocale(code)).locale;
      }
      store.categories = await this.#categoriesIn(store.locale);
    } catch (error) {
      toastError(error);
    }
    this.#draw();
    focusSwitch();
  }

  #switch(): HTMLElement {
    return languageSwitch((code) => void this.#choose(code));
  }

  #signOut(reason?: string): void {
    this.#api.token = null;
    storage.token.set(null);
    storage.sessionId.set(null);
    storage.devices.set(null);
    this.#reason = reason;
    this.#enter(null).catch((error) => this.#failed(error));
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
      account.firstElementChild?.append(this.#switch());
      this.#root.replaceChildren(account);
      return;
    }
    if (!store.user && (name === "sign-in" || (place && !place.open))) {
      this.#drawSignIn();
      return;
    }
    store.tab.set(place?.tab ?? "");
    const view = place?.view(store, this.#view, rest.join("/")) ?? nowhere();
    this.#root.replaceChildren(shell(store, this.#view, this.#switch(), view));
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
    const { title = "", tagline = "" } = this.#market ?? {};
    const view = signInView(this.#api, signedIn, this.#reason, { product: title, tagline });
    this.#reason = undefined;
    const link = (href: string, text: string) => h("a", { href }, text);
    const links = [link("#/register", w.account.register), link("#/forgot", w.account.forgot)];
    view.firstElementChild?.append(h("p", { class: "row wrap" }, ...links, link("#/", w.toCatalogue)));
    view.firstElementChild?.append(this.#switch());
    document.title = t.signIn.title;
    this.#root.replaceChildren(view);
  }
}

function adoptLanguage(code: Language): void {
  speak(code);
  speakStore(code);
  markDocument(code);
}

function nowhere(): HTMLElement {
  return h("div", {}, pageHead(w.notFound), linkButton(w.toCatalogue, "#/"));
}

/** Mails link to pages by their path, `/orders/…`, `/verify-email?token=…`: here these are `/store#/…`. */
function followMailLink(): void {
  const page = pageOf(location.pathname);
  if (page) history.replaceState(null, "", `/store${page}${location.search}`);
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
