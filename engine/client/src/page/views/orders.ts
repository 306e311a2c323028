import type { PresenceView } from "../../client";
import { asTalktimeError } from "../../client/errors";
import { type App, isOpen } from "../app";
import { openDialog } from "../dialog";
import { h, setText } from "../dom";
import { formatMoney } from "../format";
import { toast } from "../notices";
import type { Order } from "../rest";
import type { Scope } from "../signal";
import { t, word } from "../strings";
import { avatar, button, fact, modeIcon, priceText } from "../widgets";
import { startCall } from "./call-dialog";
import { payAfterTopUp } from "./order-dialog";
import { sessionsButton } from "./sessions-dialog";

/** The customer's orders: call, pay, cancel (T44-T47). */
export function ordersView(app: App, scope: Scope): HTMLElement {
  const list = h("div", { class: "orders" });
  app.orders.draw(scope, (orders, inner) => {
    if (!orders) return;
    list.replaceChildren(...orders.map((order) => card(app, inner, order)));
    if (orders.length === 0) list.append(empty());
  });
  app.refreshOrders().catch(() => undefined);
  return h("div", {}, h("div", { class: "page-head" }, h("h1", {}, t.orders.title)), list);
}

function empty(): HTMLElement {
  return h(
    "div",
    { class: "empty" },
    h("p", {}, t.orders.empty),
    h("p", { class: "muted" }, t.orders.emptyHint),
    h("a", { class: "button primary", href: "#/find" }, t.find.title),
  );
}

function card(app: App, scope: Scope, order: Order): HTMLElement {
  const money = ({ amount, currency }: Order["held"]) => formatMoney(amount, currency);
  return h(
    "article",
    { class: "card order", testid: "order", "data-id": order.id, "data-state": order.state },
    h(
      "header",
      { class: "order-head" },
      avatar(order.expert.display_name, order.expert.id),
      h(
        "div",
        { class: "grow" },
        h("h2", { class: "order-title" }, order.title),
        h("p", { class: "muted small" }, `${order.expert.display_name} · ${t.order.number(order.number)}`),
      ),
      h("span", { class: "chip state", "data-state": order.state }, word(t.orders.states, order.state)),
    ),
    h(
      "dl",
      { class: "facts facts-row" },
      fact(t.modes[order.mode], priceText(order.tariff)),
      fact(t.orders.held, money(order.held)),
      fact(t.orders.captured, money(order.captured)),
    ),
    actions(app, scope, order),
  );
}

function actions(app: App, scope: Scope, order: Order): HTMLElement {
  const cancel = button(t.orders.cancel, {
    kind: "quiet",
    testid: "order-cancel",
    action: () => confirmCancel(app, order),
  });
  return h(
    "footer",
    { class: "order-actions" },
    ...mainAction(app, scope, order),
    order.metered_sessions > 0 ? sessionsButton(app, order) : null,
    order.can_cancel ? cancel : null,
  );
}

function mainAction(app: App, scope: Scope, order: Order): HTMLElement[] {
  if (order.state === "pending_payment") return [payButton(app, order)];
  return isOpen(order) ? callPart(app, scope, order) : [];
}

function payButton(app: App, order: Order): HTMLButtonElement {
  return button(t.orders.pay, {
    kind: "primary",
    testid: "order-pay",
    action: async () => {
      try {
        await app.api.actOnOrder(order.id, "pay");
      } catch (error) {
        const refusal = asTalktimeError(error);
        if (refusal.details.status !== 402) throw error;
        await payAfterTopUp(app, order.id, refusal.shortfallMinor ?? order.tariff.prepay_minor);
      }
      app.refresh();
    },
  });
}

/** The call button is always shown, enabled only when the expert can be called (T47, Tl). */
function callPart(app: App, scope: Scope, order: Order): HTMLElement[] {
  const liveId = order.live_session_id;
  if (liveId) {
    const action = () => app.rejoin(liveId);
    return [button(t.orders.backToCall, { kind: "primary", icon: "phone", testid: "order-return", action })];
  }
  const call = button(order.mode === "text" ? t.orders.startChat : t.orders.call, {
    kind: "primary",
    testid: "call-button",
    action: () => startCall(app, order),
  });
  call.prepend(modeIcon(order.mode));
  const reason = h("p", { class: "call-reason small", testid: "call-reason" });
  app.presence.watch(scope, (known) => {
    const presence = known.get(order.expert.id);
    call.disabled = !(presence ? presence.callable : order.can_call);
    setText(reason, t.orders.reasons[callReason(order, presence)]);
    reason.dataset.ready = String(!call.disabled);
  });
  return [call, reason];
}

type Reason = keyof typeof t.orders.reasons;

function callReason(order: Order, presence: PresenceView | undefined): Reason {
  if (!presence) return order.can_call ? "ready" : "not_now";
  if (!presence.online) return "expert_offline";
  if (presence.callable) return presence.status === "away" ? "ready_away" : "ready";
  return presence.status === "undefined" ? "expert_undefined" : "expert_busy";
}

async function confirmCancel(app: App, order: Order): Promise<void> {
  const held =
    order.held.amount > 0 ? t.orders.cancelText(formatMoney(order.held.amount, order.held.currency)) : null;
  const confirm = button(t.orders.cancel, {
    kind: "danger",
    testid: "order-cancel-confirm",
    action: async () => {
      await app.api.actOnOrder(order.id, "cancel");
      dialog.close();
      toast(t.orders.cancelled);
      app.refresh();
    },
  });
  const dialog = openDialog(
    t.orders.cancelTitle,
    "cancel-dialog",
    h("p", {}, held ?? t.orders.cancelPlain),
    h(
      "footer",
      { class: "dialog-actions" },
      button(t.orders.keep, { kind: "quiet", "data-autofocus": true, action: () => dialog.close() }),
      confirm,
    ),
  );
  await dialog.closed;
}
