import type { PresenceStatus } from "../../client";
import type { App } from "../app";
import { h, setText, show } from "../dom";
import { formatClock, formatMoney } from "../format";
import { toastError } from "../notices";
import type { Order } from "../rest";
import type { RingingCall } from "../ringing";
import type { Scope } from "../signal";
import { t, word } from "../strings";
import { avatar, button, fact, modeIcon } from "../widgets";
import { sessionsButton } from "./sessions-dialog";
import { callBadge } from "./shell";

const STATUSES: PresenceStatus[] = ["available", "away", "busy", "undefined"];

/** The expert's home: status, calls that ring, sales (T12-T20). */
export function deskView(app: App, scope: Scope): HTMLElement {
  return h(
    "div",
    { class: "desk" },
    h("div", { class: "page-head" }, h("h1", {}, t.desk.title)),
    h(
      "div",
      { class: "desk-grid" },
      callsPanel(app, scope),
      h("div", { class: "stack" }, presencePanel(app), earnedPanel(app, scope)),
    ),
    salesPanel(app, scope),
  );
}

function presencePanel(app: App): HTMLElement {
  const hint = h("p", { class: "muted small" });
  const current = app.user.presence_status ?? "undefined";
  const choose = async (status: PresenceStatus) => {
    const { status: chosen } = await app.client.setPresence(status);
    app.user.presence_status = chosen;
    setText(hint, t.presenceHints[chosen]);
  };
  const options = STATUSES.map((status) => presenceOption(status, status === current, choose));
  setText(hint, t.presenceHints[current]);
  return h(
    "section",
    { class: "card" },
    h(
      "fieldset",
      { class: "segmented", testid: "presence-select" },
      h("legend", {}, t.desk.presence),
      ...options,
    ),
    hint,
  );
}

function presenceOption(
  status: PresenceStatus,
  checked: boolean,
  choose: (status: PresenceStatus) => Promise<void>,
): HTMLElement {
  const input = h("input", {
    type: "radio",
    name: "presence",
    value: status,
    checked,
    testid: `presence-${status}`,
    on: { change: () => void choose(status).catch(toastError) },
  });
  return h("label", { "data-status": status }, input, h("span", { class: "dot" }), t.presence[status]);
}

function earnedPanel(app: App, scope: Scope): HTMLElement {
  const earned = h("p", { class: "figure", testid: "earned" });
  app.wallet.watch(scope, (wallet) => {
    if (wallet) setText(earned, formatMoney(wallet.earned.amount, wallet.earned.currency));
  });
  return h("section", { class: "card" }, h("h2", { class: "card-title" }, t.desk.earned), earned);
}

function callsPanel(app: App, scope: Scope): HTMLElement {
  const list = h("div", { class: "stack" });
  const idle = h(
    "div",
    { class: "empty empty-tight" },
    h("p", {}, t.desk.noCalls),
    h("p", { class: "muted small" }, t.desk.noCallsHint),
    soundButton(app),
  );
  app.ringing.list.draw(scope, (calls, inner) => {
    list.replaceChildren(...calls.map((ringing) => incomingCard(app, inner, ringing)));
    show(idle, calls.length === 0);
  });
  return h(
    "section",
    { class: "card calls", "aria-labelledby": "calls-title" },
    h("h2", { class: "card-title", id: "calls-title" }, t.desk.calls, callBadge(app, scope)),
    list,
    idle,
  );
}

/** Browsers ring only after the page was touched once. */
function soundButton(app: App): HTMLElement {
  const enable = button(t.desk.enableSound, {
    icon: "bell",
    testid: "enable-sound",
    action: async () => {
      await app.sounds.unlock();
      app.sounds.chime();
      show(enable, false);
    },
  });
  show(enable, !navigator.userActivation?.hasBeenActive);
  return enable;
}

function incomingCard(app: App, scope: Scope, ringing: RingingCall): HTMLElement {
  const { call } = ringing;
  const left = h("span", { class: "muted small", "aria-hidden": "true" });
  const tick = () => setText(left, formatClock((ringing.expiresAtMs - performance.now()) / 1000));
  tick();
  scope.every(1_000, tick);
  return h(
    "article",
    { class: "incoming", testid: "incoming-call", "data-id": call.session_id, "data-alert": call.alert },
    h(
      "header",
      { class: "row" },
      avatar(call.from_name, call.order_id),
      h(
        "div",
        { class: "grow" },
        h("p", { class: "strong" }, t.desk.incoming(call.from_name)),
        h(
          "p",
          { class: "muted small with-icon" },
          modeIcon(call.mode),
          `${t.modes[call.mode]} · ${call.title}`,
        ),
      ),
      left,
    ),
    call.direction === "one_way" ? h("p", { class: "note small" }, t.call.oneWayChipExpert) : null,
    answerButtons(app, ringing),
  );
}

function answerButtons(app: App, ringing: RingingCall): HTMLElement {
  const answer = (startNow: boolean) => () => app.ringing.answer(ringing, startNow);
  const startable = ringing.call.mode !== "text";
  return h(
    "footer",
    { class: "row wrap" },
    button(t.desk.answer, { kind: "primary", icon: "phone", testid: "answer", action: answer(false) }),
    startable ? button(t.desk.answerStart, { testid: "answer-start", action: answer(true) }) : null,
    button(t.desk.decline, { kind: "quiet", testid: "decline", action: () => app.ringing.decline(ringing) }),
  );
}

function salesPanel(app: App, scope: Scope): HTMLElement {
  const list = h("div", { class: "stack" });
  app.sales.watch(scope, (sales) => {
    if (!sales) return;
    list.replaceChildren(...sales.map((sale) => saleRow(app, sale)));
    if (sales.length === 0) list.append(h("p", { class: "muted" }, t.desk.noSales));
  });
  return h(
    "section",
    { class: "card", "aria-labelledby": "sales-title" },
    h("h2", { class: "card-title", id: "sales-title" }, t.desk.sales),
    list,
  );
}

function saleRow(app: App, sale: Order): HTMLElement {
  const liveId = sale.live_session_id;
  const money = ({ amount, currency }: Order["held"]) => formatMoney(amount, currency);
  return h(
    "article",
    { class: "sale", testid: "sale", "data-id": sale.id, "data-state": sale.state },
    avatar(sale.customer.display_name, sale.customer.id, "small"),
    h(
      "div",
      { class: "grow" },
      h("p", { class: "strong" }, sale.customer.display_name),
      h(
        "p",
        { class: "muted small" },
        `${sale.title} · ${t.modes[sale.mode]} · ${t.order.number(sale.number)}`,
      ),
    ),
    h(
      "dl",
      { class: "facts facts-row" },
      fact(t.orders.captured, money(sale.captured)),
      fact(t.orders.sessions, sale.metered_sessions),
    ),
    sale.metered_sessions > 0 ? sessionsButton(app, sale) : null,
    liveId
      ? button(t.orders.backToCall, { kind: "primary", action: () => app.rejoin(liveId) })
      : h("span", { class: "chip state", "data-state": sale.state }, word(t.orders.states, sale.state)),
  );
}
