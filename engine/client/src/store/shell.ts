import { h, setText, show } from "../page/dom";
import { icon } from "../page/icons";
import type { Scope } from "../page/signal";
import { account, connectionBanner, walletChip } from "../page/views/shell";
import { linkButton } from "./parts";
import type { Store } from "./store";
import { w } from "./words";

/** Header, navigation and the place where the current view goes. */
export function shell(store: Store, scope: Scope, current: string, view: HTMLElement): HTMLElement {
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
        navigation(store, scope, current),
        user ? walletChip(store, scope) : null,
        user
          ? account({ user, onSignOut: store.onSignOut })
          : linkButton(w.signIn, "#/sign-in", { class: "primary", testid: "sign-in" }),
      ),
    ),
    user ? connectionBanner(store, scope) : null,
    callBanner(store, scope),
    h("main", { class: "page", id: "main" }, view),
  );
}

function navigation(store: Store, scope: Scope, current: string): HTMLElement {
  const link = (name: string, label: string, ...more: HTMLElement[]) =>
    h(
      "a",
      {
        href: `#/${name}`,
        "aria-current": name === current ? "page" : null,
        testid: `nav-${name || "browse"}`,
      },
      label,
      ...more,
    );
  const links = [link("", w.nav.browse)];
  if (store.user) {
    links.push(link("orders", w.nav.orders));
    if (store.isExpert) links.push(link("sales", w.nav.sales));
    if (store.market.negotiation) links.push(link("requests", w.nav.requests));
    links.push(link("inbox", w.nav.inbox, unreadBadge(store, scope)), link("wallet", w.nav.wallet));
    links.push(link("desk", store.isExpert ? w.nav.desk : w.join.title));
  }
  return h("nav", { class: "tabs", "aria-label": w.nav.label }, ...links);
}

function unreadBadge(store: Store, scope: Scope): HTMLElement {
  const figure = h("span", { "aria-hidden": "true" });
  const words = h("span", { class: "visually-hidden" });
  const badge = h("span", { class: "badge", testid: "unread-badge" }, figure, words);
  store.unread.watch(scope, (count) => {
    show(badge, count > 0);
    setText(figure, String(count));
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
