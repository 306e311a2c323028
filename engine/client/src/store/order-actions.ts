import { openDialog } from "../page/dialog";
import { h } from "../page/dom";
import { toast } from "../page/notices";
import { word, wordFor } from "../page/strings";
import { button } from "../page/widgets";
import { pay } from "./buy";
import { askDialog, field, filePicker, form, textarea } from "./parts";
import type { OrderDetail } from "./rest";
import type { Store } from "./store";
import { w } from "./words";

type Again = () => Promise<void>;
type Kind = "primary" | "secondary" | "quiet";

/** In this order; what is likely wanted first is shown so. */
const SHOWN: [action: string, kind: Kind][] = [
  ["pay", "primary"],
  ["start", "primary"],
  ["accept", "primary"],
  ["add-delivery", "primary"],
  ["deliver", "secondary"],
  ["review", "primary"],
  ["return", "secondary"],
  ["require", "secondary"],
  ["close", "secondary"],
  ["agree-to-cancel", "quiet"],
  ["refuse", "quiet"],
  ["cancel", "quiet"],
  ["withdraw-dispute", "secondary"],
  ["dispute", "quiet"],
];
const WITH_TEXT = new Set(["return", "refuse", "dispute", "require"]);
const TEXT_NEEDED = new Set(["dispute", "require"]);
const DANGEROUS = new Set(["refuse", "cancel", "dispute"]);

/** A button for each of the actions that the API says are open to this user now. */
export function orderActions(store: Store, order: OrderDetail, again: Again): HTMLElement | null {
  const open = SHOWN.filter(([action]) => order.actions.includes(action));
  if (open.length === 0) return null;
  return h(
    "section",
    { class: "card row wrap", "aria-label": w.orders.doable, testid: "order-actions" },
    ...open.map(([action, kind]) =>
      button(word(w.orders.actions, action), {
        kind,
        testid: `do-${action}`,
        action: () => run(store, order, action, again),
      }),
    ),
  );
}

async function run(store: Store, order: OrderDetail, action: string, again: Again): Promise<void> {
  if (action === "pay") {
    if (await pay(store, order)) toast(w.buy.done);
    await again();
  } else if (action === "add-delivery") await deliveryDialog(store, order, again);
  else if (action === "review") await reviewDialog(store, order, again);
  else if (WITH_TEXT.has(action) || wordFor(w.orders.sure, action))
    await confirmed(store, order, action, again);
  else {
    await store.api.act(order.id, action);
    await again();
  }
}

function confirmed(store: Store, order: OrderDetail, action: string, again: Again): Promise<void> {
  const label = wordFor(w.orders.ask, action);
  const text = wordFor(w.orders.sure, action);
  const question = {
    title: word(w.orders.actions, action),
    confirm: word(w.orders.actions, action),
    required: TEXT_NEEDED.has(action),
    danger: DANGEROUS.has(action),
    value: action === "require" ? (order.requirements ?? "") : "",
    ...(label ? { label } : {}),
    ...(text ? { text } : {}),
  };
  return askDialog(question, async (answer) => {
    if (action === "require") await store.api.require(order.id, answer);
    else await store.api.act(order.id, action, WITH_TEXT.has(action) ? { reason: answer } : {});
    await again();
  });
}

async function deliveryDialog(store: Store, order: OrderDetail, again: Again): Promise<void> {
  const text = textarea("", { testid: "delivery-text", maxlength: 4_000, "data-autofocus": true });
  const picker = filePicker(store, "attachment", w.chooseFiles);
  const content = [field(w.orders.deliveryText, text), picker.element];
  const element = form(content, w.send, "delivery-send", async () => {
    await store.api.deliverPart(order.id, text.value.trim(), picker.ids());
    dialog.close();
    await again();
  });
  const dialog = openDialog(w.orders.actions["add-delivery"], "delivery-dialog", element);
  await dialog.closed;
}

/** Stars for the service and for the expert (P17, P18). */
async function reviewDialog(store: Store, order: OrderDetail, again: Again): Promise<void> {
  const given: Record<string, number> = {};
  const text = textarea("", { testid: "review-text", maxlength: 4_000 });
  const content = [
    starChoice("service", w.review.service, given),
    starChoice("expert", w.review.expert, given),
    field(w.review.text, text),
  ];
  const element = form(content, w.send, "review-send", async () => {
    const { service, expert } = given;
    if (!service || !expert) throw new Error(w.review.needed);
    const body = { rating_service: service, rating_expert: expert, text: text.value.trim() };
    await store.api.act(order.id, "review", body);
    dialog.close();
    await again();
  });
  const dialog = openDialog(w.review.title, "review-dialog", element);
  await dialog.closed;
}

function starChoice(name: string, label: string, given: Record<string, number>): HTMLElement {
  const choice = (n: number) => {
    const change = () => {
      given[name] = n;
      for (const other of row.querySelectorAll<HTMLElement>("label")) {
        other.classList.toggle("on", Number(other.dataset.n) <= n);
      }
    };
    const input = h("input", {
      type: "radio",
      name: `stars-${name}`,
      value: n,
      class: "visually-hidden",
      on: { change },
    });
    return h(
      "label",
      { class: "star-choice", testid: `${name}-${n}`, "data-n": n },
      input,
      h("span", { "aria-hidden": "true" }, "★"),
      h("span", { class: "visually-hidden" }, w.review.star(n)),
    );
  };
  const row = h("div", { class: "row" }, ...[1, 2, 3, 4, 5].map(choice));
  return h("fieldset", { class: "star-choices" }, h("legend", {}, label), row);
}
