import { h, setText, show } from "../page/dom";
import { icon } from "../page/icons";
import { formatNumber } from "../page/language";
import type { Scope, Signal } from "../page/signal";
import { account, connectionBanner, walletChip } from "../page/views/shell";
import { linkButton } from "./parts";
import type { Store } from "./store";
import { w } from "./words";

/** Header, navigation and the place where the current view goes. */
export function shell(store: Store, scope: Scope, language: HTMLElement, view: HTMLElement): HTMLElement {
  const { user } = store;
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
          { class: "brand", href: "#/", "aria-label": store.market.title },
          h("span", { class: "brand-mark" }, icon("chat")),
          h("span", { class: "brand-name" }, store.market.title),
        ),
        navigation(store, scope),
        language,
        user ? walletChip(store, scope) : null,
        user ? bell(store, scope) : null,
        user
          ? account({ user, onSignOut: store.onSignOut, page: ["#/account", w.account.settings] })
          : linkButton(w.signIn, "#/sign-in", { class: "primary", testid: "sign-in" }),
      ),
    ),
    user ? connectionBanner(store, scope) : null,
    callBanner(store, scope),
    h("main", { class: "page", id: "main" }, view),
  );
}

function navigation(store: Store, scope: Scope): HTMLElement {
  const link = (name: string, label: string, ...more: HTMLElement[]) => {
    const element = h("a", { href: `#/${name}`, testid: `nav-${name || "browse"}` }, label, ...more);
    markCurrent(store, scope, element, name);
    return element;
  };
  const links = [link("", w.nav.browse)];
  if (store.user) {
    links.push(link("orders", w.nav.orders));
    if (store.isExpert) links.push(link("sales", w.nav.sales));
    if (store.market.negotiation) links.push(link("requests", w.nav.requests));
    links.push(link("favourites", w.nav.favourites));
    links.push(
      link("inbox", w.nav.inbox, countBadge(scope, store.unread, "unread-badge")),
      link("wallet", w.nav.wallet),
    );
    links.push(link("desk", store.isExpert ? w.nav.desk : w.join.title));
  }
  return h("nav", { class: "tabs", "aria-label": w.nav.label }, ...links);
}

function markCurrent(store: Store, scope: Scope, element: HTMLElement, name: string): void {
  store.tab.watch(scope, (tab) => {
    if (tab === name) element.setAttribute("aria-current", "page");
    else element.removeAttribute("aria-current");
  });
}

function bell(store: Store, scope: Scope): HTMLElement {
  const element = h(
    "a",
    {
      class: "icon-button bell",
      href: "#/notifications",
      title: w.nav.notifications,
      testid: "nav-notifications",
    },
    icon("bell"),
    h("span", { class: "visually-hidden" }, w.nav.notifications),
    countBadge(scope, store.notices, "notices-badge"),
  );
  markCurrent(store, scope, element, "notifications");
  return element;
}

function countBadge(scope: Scope, counted: Signal<number>, testid: string): HTMLElement {
  const figure = h("span", { "aria-hidden": "true" });
  const words = h("span", { class: "visually-hidden" });
  const badge = h("span", { class: "badge", testid }, figure, words);
  counted.watch(scope, (count) => {
    show(badge, count > 0);
    setText(figure, formatNumber(count));
    setText(words, w.nav.unread(count));
  });
  return badge;
}

function callBanner(store: Store, scope: Scope): HTMLElement {
  const words = h("p", { class: "grow" });
  const go = linkButton(w.toCalls, "/#/desk", { class: "primary small" });
  const banner = h("section", { class: "banner banner-call", role: "alert" }, icon("phone"), words, go);
  store.calls.watch(scope, (calls) => {
    show(banner, calls.length > 0);
    setText(words, calls.map(({ from_name }) => w.bringFromCall(from_name)).join(", "));
  });
  return banner;
}
