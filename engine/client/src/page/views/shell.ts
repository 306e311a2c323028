import type { App } from "../app";
import { h, setText, show } from "../dom";
import { formatMoney } from "../format";
import { icon } from "../icons";
import type { Scope } from "../signal";
import { t } from "../strings";
import { avatar } from "../widgets";
import { type Purse, topUpDialog } from "./top-up";

export type Route = "find" | "orders" | "desk";

/** Header, navigation and the place where the current view goes. */
export function shell(
  app: App,
  scope: Scope,
  route: Route,
  language: HTMLElement,
  view: HTMLElement,
): HTMLElement {
  return h(
    "div",
    { class: "shell" },
    h(
      "header",
      { class: "topbar" },
      h(
        "div",
        { class: "topbar-inner" },
        h(
          "a",
          { class: "brand", href: "#/" },
          h("span", { class: "brand-mark" }, icon("chat")),
          h("span", { class: "brand-name" }, t.product),
        ),
        navigation(app, scope, route),
        language,
        walletChip(app, scope),
        account(app),
      ),
    ),
    connectionBanner(app, scope),
    route === "desk" ? null : ringingBanner(app, scope),
    h("main", { class: "page", id: "main" }, view),
  );
}

function navigation(app: App, scope: Scope, current: Route): HTMLElement {
  const link = (route: Route, label: string, ...more: HTMLElement[]) =>
    h(
      "a",
      { href: `#/${route}`, "aria-current": route === current ? "page" : null, testid: `nav-${route}` },
      label,
      ...more,
    );
  const desk = app.isExpert ? [link("desk", t.nav.desk, callBadge(app, scope))] : [];
  return h(
    "nav",
    { class: "tabs", "aria-label": t.nav.label },
    ...desk,
    link("find", t.nav.find),
    link("orders", t.nav.orders),
  );
}

/** The red circle with the number of calls at this moment (T15). */
export function callBadge(app: App, scope: Scope): HTMLElement {
  const figure = h("span", { "aria-hidden": "true" });
  const words = h("span", { class: "visually-hidden" });
  const badge = h("span", { class: "badge", testid: "call-badge" }, figure, words);
  app.ringing.count.watch(scope, (count) => {
    show(badge, count > 0);
    setText(figure, String(count));
    setText(words, t.desk.callsLabel(count));
  });
  return badge;
}

export function walletChip(app: Purse, scope: Scope): HTMLElement {
  const available = h("strong", { testid: "wallet-available" });
  const held = h("span", { testid: "wallet-held" });
  const heldPart = h("span", { class: "wallet-held" }, `${t.wallet.held} `, held);
  const topUp = h(
    "button",
    {
      type: "button",
      class: "icon-button",
      "aria-label": t.wallet.dialogTitle,
      title: t.wallet.topUp,
      testid: "topup-open",
      on: { click: () => void topUpDialog(app) },
    },
    icon("plus"),
  );
  app.wallet.watch(scope, (wallet) => {
    if (!wallet) return;
    setText(available, formatMoney(wallet.available.amount, wallet.available.currency));
    setText(held, formatMoney(wallet.held.amount, wallet.held.currency));
    show(heldPart, wallet.held.amount > 0);
  });
  return h(
    "section",
    { class: "wallet-chip", "aria-label": t.wallet.label, testid: "wallet-chip" },
    icon("wallet"),
    h(
      "span",
      { class: "wallet-figures" },
      h("span", { class: "visually-hidden" }, t.wallet.available),
      available,
      heldPart,
    ),
    topUp,
  );
}

/** `page`: where the user's name leads to, and what that is called. */
export function account(
  app: Pick<App, "user" | "onSignOut"> & { page?: readonly [href: string, label: string] },
): HTMLElement {
  const signOut = h(
    "button",
    {
      type: "button",
      class: "icon-button",
      "aria-label": t.signIn.out,
      title: t.signIn.out,
      testid: "sign-out",
      on: { click: () => app.onSignOut() },
    },
    icon("signout"),
  );
  const who = [
    avatar(app.user.display_name, app.user.id, "small"),
    h("span", { class: "account-name" }, app.user.display_name),
  ];
  return h("div", { class: "account" }, ...(app.page ? [accountLink(app.page, who)] : who), signOut);
}

function accountLink([href, label]: readonly [string, string], who: HTMLElement[]): HTMLElement {
  const words = h("span", { class: "visually-hidden" }, label);
  return h("a", { class: "account-link", href, title: label, testid: "nav-account" }, ...who, words);
}

/** Calls ring at the desk; on the other pages the expert reads who calls, and gets there. */
function ringingBanner(app: App, scope: Scope): HTMLElement {
  const words = h("p", { class: "grow" });
  const desk = h("a", { class: "button primary small", href: "#/desk", testid: "ringing-go" }, t.desk.goTo);
  const banner = h(
    "section",
    { class: "banner banner-call", testid: "ringing-banner" },
    icon("phone"),
    words,
    desk,
  );
  banner.setAttribute("aria-label", t.desk.calls);
  app.ringing.list.watch(scope, (calls) => {
    show(banner, calls.length > 0);
    setText(words, calls.map(({ call }) => t.desk.incoming(call.from_name)).join(", "));
  });
  return banner;
}

export function connectionBanner(app: Pick<App, "client">, scope: Scope): HTMLElement {
  const banner = h("p", { class: "banner banner-warning", testid: "connection-banner", hidden: true });
  banner.append(t.connection.reconnecting);
  show(banner, app.client.connection === "reconnecting");
  scope.add(app.client.on("connection", (state) => show(banner, state === "reconnecting")));
  return banner;
}
