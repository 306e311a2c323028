import type { App } from "../app";
import { openDialog } from "../dialog";
import { h } from "../dom";
import { formatDateTime, formatDuration, formatMoney } from "../format";
import type { Order, SessionView } from "../rest";
import { t } from "../strings";
import { button, receiptLink } from "../widgets";

/** Opens the list of an order's sessions, each with its receipt. */
export function sessionsButton(app: App, order: Order): HTMLButtonElement {
  return button(t.sessions.button, {
    kind: "quiet",
    testid: "order-sessions",
    action: async () => {
      const sessions = (await app.api.sessions(order.id)).reverse();
      const rows = sessions.length > 0 ? sessions.map(row) : [h("li", { class: "muted" }, t.sessions.empty)];
      openDialog(t.sessions.title, "sessions-dialog", h("ul", { class: "sessions" }, ...rows));
    },
  });
}

function row(session: SessionView): HTMLElement {
  const { rung_at, end_reason, billed_seconds, total, receipt_url } = session;
  const how = end_reason ? t.end.titles[end_reason] : t.sessions.running;
  const money = total.amount > 0 ? formatMoney(total.amount, total.currency) : t.sessions.free;
  return h(
    "li",
    { testid: "session-row", "data-id": session.id },
    h(
      "div",
      { class: "grow" },
      h("p", {}, formatDateTime(rung_at)),
      h("p", { class: "muted small" }, [how, formatDuration(billed_seconds), money].join(" · ")),
    ),
    receipt_url ? receiptLink(receipt_url, t.sessions.receipt) : null,
  );
}
