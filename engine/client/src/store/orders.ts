import type { Role } from "../client";
import { h, setText } from "../page/dom";
import { formatDateTime } from "../page/format";
import { errorText } from "../page/notices";
import type { Scope } from "../page/signal";
import { word } from "../page/strings";
import { avatar, button } from "../page/widgets";
import { field, money, pageHead, select, stateChip, turns } from "./parts";
import type { Order } from "./rest";
import type { Store } from "./store";
import { w } from "./words";

/** "Order list" of the customer, "My sales" of the expert, newest first. */
export function ordersPage(store: Store, scope: Scope, role: Role): HTMLElement {
  const list = h("div", { class: "stack", testid: "orders" });
  const note = h("p", { class: "muted", role: "status" });
  const more = h("div", { class: "row center" });
  const view = select(Object.entries(w.orders.views), "", { testid: "orders-view" });
  const begin = turns();
  const load = async (cursor?: string | null) => {
    const counts = begin();
    try {
      const page = await store.api.orderPage({ role, view: view.value, cursor });
      if (!counts()) return;
      if (!cursor) list.replaceChildren();
      list.append(...page.items.map((order) => orderRow(order)));
      setText(note, list.childElementCount === 0 ? w.orders.empty : "");
      more.replaceChildren();
      if (page.next_cursor) more.append(button(w.more, { action: () => load(page.next_cursor) }));
    } catch (error) {
      setText(note, errorText(error));
    }
  };
  view.addEventListener("change", () => void load());
  scope.add(store.client.on("wallet.updated", () => void load()));
  store.onNews(scope, ["order"], () => void load());
  void load();
  const title = role === "customer" ? w.orders.mine : w.orders.sales;
  return h(
    "div",
    { class: "stack narrow" },
    pageHead(title),
    h("div", { class: "filters" }, field(w.orders.view, view)),
    note,
    list,
    more,
  );
}

function orderRow(order: Order): HTMLElement {
  const other = order.role === "customer" ? order.expert : order.customer;
  const kind = order.mode ? w.modes[order.mode] : word(w.kinds, order.fulfilment);
  const facts = [other.display_name, kind, w.orders.number(order.number), formatDateTime(order.created_at)];
  return h(
    "article",
    { class: "card order-row", testid: "order", "data-id": order.id, "data-state": order.state },
    avatar(other.display_name, other.id),
    h(
      "div",
      { class: "grow" },
      h(
        "h2",
        { class: "order-title", dir: "auto" },
        h("a", { class: "plain", href: `#/order/${order.id}`, testid: "order-link" }, order.title),
      ),
      h("p", { class: "muted small" }, facts.filter(Boolean).join(" · ")),
    ),
    h("strong", {}, money(order.price)),
    stateChip(order.state, w.orders.states),
  );
}
