import { h, setText } from "../page/dom";
import { formatDateTime } from "../page/format";
import { toastError } from "../page/notices";
import type { Scope } from "../page/signal";
import { topUpDialog } from "../page/views/top-up";
import { button } from "../page/widgets";
import { money, pageHead, turns } from "./parts";
import type { Transaction } from "./rest";
import type { Store } from "./store";
import { w } from "./words";

/** Balance, what is on hold, what was earned; every transaction, newest first. */
export function walletPage(store: Store, scope: Scope): HTMLElement {
  const body = h("tbody", { testid: "transactions" });
  const more = h("div", { class: "row center" });
  const begin = turns();
  const load = async (cursor?: string) => {
    const counts = begin();
    const page = await store.api.transactions(cursor);
    if (!counts()) return;
    if (!cursor) body.replaceChildren();
    body.append(...page.items.map(row));
    more.replaceChildren();
    const next = page.next_cursor;
    if (next) more.append(button(w.more, { action: () => load(next) }));
  };
  store.wallet.watch(scope, () => void load().catch(toastError));
  const head = (name: string) => h("th", { scope: "col" }, name);
  return h(
    "div",
    { class: "stack narrow" },
    pageHead(w.wallet.title),
    figures(store, scope),
    h(
      "div",
      {},
      button(w.wallet.topUp, { kind: "primary", testid: "wallet-topup", action: () => topUpDialog(store) }),
    ),
    h("h2", {}, w.wallet.transactions),
    h(
      "div",
      { class: "card table-scroll", role: "region", "aria-label": w.wallet.transactions, tabindex: "0" },
      h(
        "table",
        { class: "table" },
        h("thead", {}, h("tr", {}, head(w.wallet.when), head(w.wallet.what), head(w.wallet.amount))),
        body,
      ),
    ),
    more,
  );
}

function figures(store: Store, scope: Scope): HTMLElement {
  const part = (label: string, name: "available" | "held" | "earned") => {
    const figure = h("p", { class: "figure", testid: `total-${name}` });
    store.wallet.watch(scope, (wallet) => setText(figure, wallet ? money(wallet[name]) : "–"));
    return h("section", { class: "card" }, h("h2", { class: "card-title" }, label), figure);
  };
  return h(
    "div",
    { class: "figures" },
    part(w.wallet.available, "available"),
    part(w.wallet.held, "held"),
    store.isExpert ? part(w.wallet.earned, "earned") : null,
  );
}

function row({ kind, text, amount, order_id, at }: Transaction): HTMLElement {
  const what = order_id ? h("a", { href: `#/order/${order_id}` }, text) : text;
  return h(
    "tr",
    { testid: "transaction", "data-kind": kind },
    h("td", { class: "muted" }, formatDateTime(at)),
    h("td", {}, what),
    h("td", { class: "amount" }, money(amount)),
  );
}
