import { h } from "../page/dom";
import { formatDateTime } from "../page/format";
import { t } from "../page/strings";
import { button, fact } from "../page/widgets";
import { loaded, pageHead } from "./parts";
import type { Blocked } from "./rest";
import type { Store } from "./store";
import { w } from "./words";

/** One's own account: who is signed in, the language, and whom they have blocked. */
export function settingsPage(store: Store): HTMLElement {
  const { user } = store;
  if (!user) return h("div");
  return h(
    "div",
    { class: "stack narrow" },
    pageHead(w.account.settings),
    h(
      "section",
      { class: "card stack" },
      h(
        "dl",
        { class: "facts facts-row" },
        fact(w.account.name, user.display_name),
        fact(w.account.email, user.email),
      ),
      button(t.signIn.out, { icon: "signout", testid: "account-sign-out", action: () => store.onSignOut() }),
    ),
    blocksCard(store),
  );
}

function blocksCard(store: Store): HTMLElement {
  const { element } = loaded(store.api.blocks, ({ items }, again) =>
    items.length === 0
      ? h("p", { class: "muted", testid: "no-blocks" }, w.blocks.empty)
      : h("ul", {}, ...items.map((one) => row(store, one, again))),
  );
  return h(
    "section",
    { class: "card stack" },
    h("h2", {}, w.blocks.title),
    h("p", { class: "muted small" }, w.blocks.hint),
    element,
  );
}

function row(store: Store, { id, display_name, at }: Blocked, again: () => Promise<void>): HTMLElement {
  const lift = async () => {
    await store.api.unblock(id);
    await again();
  };
  return h(
    "li",
    { class: "sale", testid: "blocked", "data-id": id },
    h("strong", { class: "grow" }, display_name),
    h("span", { class: "muted small" }, w.blocks.since(formatDateTime(at))),
    button(w.blocks.unblock, {
      testid: "unblock",
      "aria-label": w.blocks.unblockThis(display_name),
      action: lift,
    }),
  );
}
