import { h, setText, show } from "../page/dom";
import { formatDateTime, formatMoney } from "../page/format";
import { toastError } from "../page/notices";
import type { Money, Wallet } from "../page/rest";
import type { Scope } from "../page/signal";
import { topUpDialog } from "../page/views/top-up";
import { button } from "../page/widgets";
import { money, pageHead, turns } from "./parts";
import type { Account, Order, Transaction } from "./rest";
import { balancesAfter, lineText } from "./statement";
import type { Store } from "./store";
import { w } from "./words";

/** So many running orders are looked through for what they hold. */
const MOST_HELD = 100;

/**
 * Balances, what is on hold, and every movement, newest first. Holds are no movements: beside what was then
 * paid from them they would count twice, and the column would not add up to the balance.
 */
export function walletPage(store: Store, scope: Scope): HTMLElement {
  return h(
    "div",
    { class: "stack narrow" },
    pageHead(w.wallet.title),
    figures(store, scope),
    h("p", { class: "muted small" }, w.wallet.balanceHint),
    button(w.wallet.topUp, { kind: "primary", testid: "wallet-topup", action: () => topUpDialog(store) }),
    holdsCard(store, scope),
    movements(store, scope, "wallet"),
    store.isExpert ? movements(store, scope, "earnings") : null,
  );
}

function balanceOf({ available, held, earned }: Wallet, account: Account): Money {
  if (account === "earnings") return earned;
  return { amount: available.amount + held.amount, currency: available.currency };
}

function figures(store: Store, scope: Scope): HTMLElement {
  const part = (label: string, name: string, of: (wallet: Wallet) => Money) => {
    const figure = h("p", { class: "figure", testid: `total-${name}` });
    store.wallet.watch(scope, (wallet) => setText(figure, wallet ? money(of(wallet)) : "–"));
    return h("section", { class: "card" }, h("h2", { class: "card-title" }, label), figure);
  };
  return h(
    "div",
    { class: "figures" },
    part(w.wallet.balance, "balance", (wallet) => balanceOf(wallet, "wallet")),
    part(w.wallet.available, "available", ({ available }) => available),
    part(w.wallet.held, "held", ({ held }) => held),
    store.isExpert ? part(w.wallet.earned, "earned", ({ earned }) => earned) : null,
  );
}

/** What is on hold now, order by order: it sums to the figure above. */
function holdsCard(store: Store, scope: Scope): HTMLElement {
  const list = h("ul", { testid: "holds" });
  const card = h(
    "section",
    { class: "card stack", hidden: true },
    h("h2", {}, w.wallet.holds),
    h("p", { class: "muted small" }, w.wallet.holdsHint),
    list,
  );
  const begin = turns();
  const load = async ({ held }: Wallet) => {
    const counts = begin();
    const wanted = { role: "customer", view: "running", limit: MOST_HELD };
    const { items } = held.amount > 0 ? await store.api.orderPage(wanted) : { items: [] };
    if (!counts()) return;
    const holding = items.filter((order) => order.held.amount > 0);
    const rest = held.amount - holding.reduce((sum, order) => sum + order.held.amount, 0);
    list.replaceChildren(...holding.map(holdRow));
    if (rest > 0) list.append(holdLine(w.wallet.holdsElsewhere, formatMoney(rest, held.currency)));
    show(card, held.amount > 0);
  };
  store.wallet.watch(scope, (wallet) => {
    if (wallet) load(wallet).catch(toastError);
  });
  return card;
}

function holdRow({ id, title, number, held }: Order): HTMLElement {
  const link = h("a", { href: `#/order/${id}`, dir: "auto" }, title);
  const what = h("span", {}, link, h("span", { class: "muted small" }, ` ${w.orders.number(number)}`));
  return holdLine(what, money(held));
}

function holdLine(what: HTMLElement | string, amount: string): HTMLElement {
  return h(
    "li",
    { class: "sale", testid: "hold" },
    h("span", { class: "grow" }, what),
    h("span", { class: "amount", testid: "hold-amount" }, amount),
  );
}

/** The entries of one account, each with what it left there. */
function movements(store: Store, scope: Scope, account: Account): HTMLElement {
  const title = account === "wallet" ? w.wallet.movements : w.wallet.earnings;
  const body = h("tbody", { testid: account === "wallet" ? "transactions" : "earnings" });
  const empty = h("p", { class: "muted", hidden: true }, w.wallet.empty);
  const more = h("div", { class: "row center" });
  const begin = turns();
  const load = async (balance: Money, cursor?: string) => {
    const counts = begin();
    const page = await store.api.transactions(account, cursor);
    if (!counts()) return;
    if (!cursor) body.replaceChildren();
    const amounts = page.items.map(({ amount }) => amount.amount);
    const after = balancesAfter(balance.amount, amounts);
    body.append(...page.items.map((line, n) => row(line, after[n] ?? 0)));
    show(empty, body.childElementCount === 0);
    more.replaceChildren();
    const [next, before] = [page.next_cursor, balance.amount - amounts.reduce((sum, one) => sum + one, 0)];
    if (next) more.append(button(w.more, { action: () => load({ ...balance, amount: before }, next) }));
  };
  store.wallet.watch(scope, (wallet) => {
    if (wallet) load(balanceOf(wallet, account)).catch(toastError);
  });
  const head = (name: string, props = {}) => h("th", { scope: "col", ...props }, name);
  const amount = { class: "amount" };
  return h(
    "section",
    { class: "stack" },
    h("h2", {}, title),
    h(
      "div",
      { class: "card table-scroll", role: "region", "aria-label": title, tabindex: "0" },
      h(
        "table",
        { class: "table statement" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            head(w.wallet.when),
            head(w.wallet.what),
            head(w.wallet.amount, amount),
            head(w.wallet.after, amount),
          ),
        ),
        body,
      ),
      empty,
    ),
    more,
  );
}

function row(line: Transaction, afterMinor: number): HTMLElement {
  const { kind, amount, order_id, at } = line;
  const text = lineText(line);
  const what = order_id ? h("a", { href: `#/order/${order_id}`, dir: "auto" }, text) : text;
  const figure = { class: "amount", "data-minor": amount.amount, testid: "transaction-amount" };
  return h(
    "tr",
    { testid: "transaction", "data-kind": kind },
    h("td", { class: "muted" }, formatDateTime(at)),
    h("td", {}, what),
    h("td", figure, money(amount)),
    h("td", { class: "amount muted", testid: "transaction-after" }, formatMoney(afterMinor, amount.currency)),
  );
}
