import { h, show } from "../page/dom";
import { formatDateTime } from "../page/format";
import type { Scope } from "../page/signal";
import { word, wordFor } from "../page/strings";
import { fact, priceText, webUrl } from "../page/widgets";
import { reviewCard } from "./expert";
import { orderActions } from "./order-actions";
import { fileList, linkButton, loaded, money, pageHead, prose, stateChip } from "./parts";
import type { Delivery, FileView, OrderDetail } from "./rest";
import type { Store } from "./store";
import { conversation } from "./talk";
import { w } from "./words";

interface Bought {
  files: FileView[];
  links: string[];
}

/** One order, as customer or expert: what it is, what may be done now, what was delivered, what was said. */
export function orderPage(store: Store, scope: Scope, id: string): HTMLElement {
  const talk = h("section", { class: "card talk-card", hidden: true });
  const load = async () => {
    const order = await store.api.orderDetail(id);
    const completed =
      order.fulfilment === "files" && order.role === "customer" && order.state === "completed";
    return { order, bought: completed ? await store.api.orderFiles(id) : null };
  };
  const { element, again } = loaded(load, ({ order, bought }, redraw) => {
    if (talk.hidden) {
      talk.append(h("h2", { class: "card-title" }, w.orders.correspondence));
      talk.append(conversation(store, scope, order.conversation_id));
      show(talk, true);
    }
    store.tab.set(order.role === "expert" ? "sales" : "orders");
    return details(store, order, bought, redraw);
  });
  const changed = ({ order_id, message }: { order_id: string | null; message: { kind: string } }) => {
    if (order_id === id && message.kind !== "text") void again();
  };
  scope.add(store.client.on("message.created", changed));
  store.onNews(scope, ["order"], () => void again(), id);
  scope.add(store.client.on("wallet.updated", () => void again()));
  return h("div", { class: "order-page" }, element, talk);
}

function details(
  store: Store,
  order: OrderDetail,
  bought: Bought | null,
  again: () => Promise<void>,
): HTMLElement {
  const list = order.role === "customer" ? "orders" : "sales";
  return h(
    "div",
    { class: "stack", testid: "order-detail", "data-state": order.state, "data-id": order.id },
    h(
      "div",
      {},
      h("p", { class: "small" }, h("a", { href: `#/${list}` }, w.orders.back)),
      pageHead(
        order.title,
        h(
          "p",
          { class: "row wrap" },
          h("span", { class: "muted" }, w.orders.number(order.number)),
          stateChip(order.state, w.orders.states),
        ),
      ),
    ),
    factsCard(order),
    disputeNote(order),
    order.fulfilment === "live" && order.state === "open" ? callNote(order) : null,
    orderActions(store, order, again),
    bought ? boughtCard(bought) : null,
    order.requirements
      ? h(
          "section",
          { class: "card", testid: "order-needs" },
          h("h2", { class: "card-title" }, w.orders.requirements),
          prose(order.requirements),
        )
      : null,
    order.deliveries.length > 0
      ? h(
          "section",
          { class: "card stack" },
          h("h2", { class: "card-title" }, w.orders.deliveries),
          ...order.deliveries.map(deliveryItem),
        )
      : null,
    order.review ? reviewCard(store, order.review, () => void again()) : null,
  );
}

function factsCard(order: OrderDetail): HTMLElement {
  const rows = [
    fact(order.role === "customer" ? w.orders.expert : w.orders.customer, otherName(order)),
    fact(w.find.kind, order.mode ? w.modes[order.mode] : word(w.kinds, order.fulfilment)),
    fact(w.orders.price, order.tariff ? priceText(order.tariff) : money(order.price)),
    fact(w.orders.held, money(order.held), { testid: "order-held" }),
    fact(w.orders.paid, money(order.captured), { testid: "order-captured" }),
    fact(w.orders.ordered, formatDateTime(order.created_at)),
  ];
  if (order.delivery_by) rows.push(fact(w.orders.due, formatDateTime(order.delivery_by)));
  const acts = wordFor(w.orders.actsAt, order.state);
  if (order.acts_at && acts) rows.push(fact(acts, formatDateTime(order.acts_at)));
  const notes: string[] = [];
  const ended = order.closed_reason && wordFor(w.orders.ended, order.closed_reason);
  if (ended && (order.state === "completed" || order.state === "cancelled")) notes.push(ended);
  if (order.fulfilment === "work" && order.state === "open") {
    notes.push(order.started_at ? w.orders.started : w.orders.waits);
  }
  if (order.rework_count > 0) notes.push(w.orders.reworked(order.rework_count));
  return h(
    "section",
    { class: "card stack" },
    h("dl", { class: "facts facts-row" }, ...rows),
    notes.length > 0 ? h("p", { class: "muted", testid: "order-notes" }, notes.join(" ")) : null,
  );
}

function otherName(order: OrderDetail): string {
  return (order.role === "customer" ? order.expert : order.customer).display_name;
}

function disputeNote(order: OrderDetail): HTMLElement | null {
  if (order.state !== "disputed") return null;
  const href = `#/case/${order.dispute_case_id}`;
  return h(
    "p",
    { class: "note row wrap", testid: "dispute-note" },
    h("span", { class: "grow" }, w.orders.disputed),
    order.dispute_case_id ? h("a", { href, testid: "to-case" }, w.orders.caseTalk) : null,
  );
}

/** Calls belong to the call page: it has the devices, the meter and the ringing. */
function callNote(order: OrderDetail): HTMLElement {
  const href = order.role === "customer" ? "/#/orders" : "/#/desk";
  return h(
    "section",
    { class: "card row wrap" },
    h("p", { class: "grow muted" }, w.orders.callHint),
    linkButton(w.orders.callHere, href, { class: "primary", testid: "to-call" }),
  );
}

function boughtCard({ files, links }: Bought): HTMLElement {
  return h(
    "section",
    { class: "card stack", testid: "bought" },
    h("h2", { class: "card-title" }, w.orders.bought),
    fileList(files, "bought-file"),
    links.length > 0
      ? h(
          "ul",
          { class: "files" },
          ...links.map((link) =>
            h("li", {}, h("a", { href: webUrl(link), target: "_blank", rel: "noopener noreferrer" }, link)),
          ),
        )
      : null,
    h("p", { class: "muted small" }, w.orders.boughtHint),
  );
}

function deliveryItem({ text, files, at }: Delivery): HTMLElement {
  return h(
    "article",
    { class: "delivery", testid: "delivery" },
    h("p", { class: "muted small" }, formatDateTime(at)),
    text ? prose(text) : null,
    fileList(files, "delivery-file"),
  );
}
