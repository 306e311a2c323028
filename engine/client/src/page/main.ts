import { asTalktimeError } from "../client/errors";
import { Api } from "./api";
import { App } from "./app";
import { callPage } from "./call/page";
import { h } from "./dom";
import type { Language } from "./language";
import { errorText } from "./notices";
import type { LoginAnswer, User } from "./rest";
import { Scope } from "./signal";
import { focusSwitch, languageSwitch, markDocument, preferredLanguage } from "./speech";
import { storage } from "./storage";
import { speak, t } from "./strings";
import { deskView } from "./views/desk";
import { findView } from "./views/find";
import { ordersView } from "./views/orders";
import { type Route, shell } from "./views/shell";
import { DEMO_PASSWORD, demoEmail, signInView } from "./views/sign-in";
import { button } from "./widgets";
import { type CallWords, en } from "./words/call-en";
import { fa } from "./words/call-fa";
import { tr } from "./words/call-tr";

/** The page: signed out or signed in, and then the call or one of the views. */
class Main {
  readonly #root = document.querySelector<HTMLElement>("#app") ?? document.body;
  readonly #api = new Api(storage.token.get());
  #app: App | null = null;
  #view = new Scope();

  async run(): Promise<void> {
    this.#adopt(null);
    this.#api.onUnauthorized = () => this.#signOut(t.signIn.expired);
    window.addEventListener("hashchange", () => this.#app?.call.value || this.#draw());
    const demo = takeDemoRole();
    try {
      if (demo) await this.#signIn(await this.#loginDemo(demo));
      else if (this.#api.token) await this.#enter(await this.#api.me());
      else this.#signOut();
    } catch (error) {
      if (!this.#app) this.#signOut(errorText(error));
    }
  }

  #loginDemo(role: string): Promise<LoginAnswer> {
    storage.sessionId.set(null);
    storage.devices.set(null);
    return this.#api.login(demoEmail(role), DEMO_PASSWORD);
  }

  async #signIn({ access_token, user }: LoginAnswer): Promise<void> {
    storage.token.set(access_token);
    this.#api.token = access_token;
    await this.#enter(user);
  }

  async #enter(user: User): Promise<void> {
    this.#adopt(user);
    const app = new App(this.#api, user, (reason) => this.#signOut(reason));
    this.#app = app;
    this.#root.replaceChildren(h("p", { class: "starting muted", role: "status" }, t.loading));
    try {
      await app.start();
      app.call.watch(app.scope, () => this.#draw());
    } catch (error) {
      this.#failed(app, user, error);
    }
  }

  /** A token that is refused leads to the sign-in form, an unreachable server to a second try. */
  #failed(app: App, user: User, error: unknown): void {
    app.stop();
    if (this.#app !== app) return;
    if (asTalktimeError(error).code !== "offline") {
      this.#signOut(errorText(error));
      return;
    }
    const retry = button(t.retry, { kind: "primary", action: () => this.#enter(user) });
    this.#root.replaceChildren(
      h("div", { class: "empty", role: "alert" }, h("p", {}, errorText(error)), retry),
    );
  }

  #signOut(reason?: string): void {
    this.#view.end();
    this.#app?.stop();
    this.#app = null;
    this.#api.token = null;
    storage.token.set(null);
    storage.sessionId.set(null);
    storage.devices.set(null);
    this.#drawSignIn(reason);
  }

  #drawSignIn(reason?: string): void {
    const signedIn = (answer: LoginAnswer) => this.#signIn(answer);
    const view = signInView(this.#api, signedIn, reason);
    view.firstElementChild?.append(this.#switch());
    this.#root.replaceChildren(view);
  }

  #adopt(user: User | null): void {
    const wishes = { chosen: storage.language.get(), account: user?.locale ?? null };
    adoptLanguage(preferredLanguage({ ...wishes, browser: navigator.languages }));
  }

  #switch(): HTMLElement {
    return languageSwitch((code) => {
      storage.language.set(code);
      adoptLanguage(code);
      if (this.#app) this.#draw();
      else this.#drawSignIn();
      focusSwitch();
    });
  }

  #draw(): void {
    const app = this.#app;
    if (!app) return;
    this.#view.end();
    this.#view = new Scope();
    const session = app.call.value;
    document.body.classList.toggle("in-call", session !== null);
    this.#root.replaceChildren(session ? callPage(app, session, this.#view) : this.#page(app));
  }

  #page(app: App): HTMLElement {
    const scope = this.#view;
    const [, name = ""] = location.hash.split("/");
    const route = routeOf(app, name);
    return shell(app, scope, route, this.#switch(), VIEWS[route](app, scope));
  }
}

const VIEWS: Record<Route, (app: App, scope: Scope) => HTMLElement> = {
  find: findView,
  orders: ordersView,
  desk: deskView,
};

const WORDS: Record<Language, CallWords> = { en, tr, fa };

function adoptLanguage(code: Language): void {
  speak(code, WORDS[code]);
  markDocument(code);
}

function homeOf(app: App): Route {
  return app.isExpert ? "desk" : "find";
}

function routeOf(app: App, name: string): Route {
  if (name === "desk" && app.isExpert) return "desk";
  return name === "find" || name === "orders" ? name : homeOf(app);
}

/** `/?demo=customer`: signs in by the demo account, once; a reload then keeps the tab's own token. */
function takeDemoRole(): string | null {
  const query = new URLSearchParams(location.search);
  const role = query.get("demo");
  if (role !== "customer" && role !== "expert") return null;
  query.delete("demo");
  const rest = query.size > 0 ? `?${query}` : "";
  history.replaceState(null, "", `${location.pathname}${rest}${location.hash}`);
  return role;
}

void new Main().run();
