import type { Role, SessionSummary } from "../../client";
import { h } from "../dom";
import { formatDuration, formatMoney } from "../format";
import { icon } from "../icons";
import { t } from "../strings";
import { topUpDialog } from "../views/top-up";
import { button, fact, receiptLink } from "../widgets";
import type { CallContext } from "./page";

/** How it ended, in words, with what it cost and the way to the receipt. */
export function endScreen({ app, session }: CallContext): HTMLElement {
  const { summary } = session.snapshot;
  if (!summary) throw new Error("a session without a summary has not ended");
  const heading = h(
    "h1",
    { class: "end-title", tabindex: -1 },
    t.end.titles[summary.reason] ?? t.end.titles.completed,
  );
  queueMicrotask(() => heading.focus());
  const outOfMoney = summary.reason === "insufficient_funds" && session.role === "customer";
  return h(
    "main",
    { class: "end", testid: "end-screen" },
    h(
      "div",
      { class: "card end-card" },
      h("span", { class: "end-mark", "data-mark": markOf(summary) }, icon(markOf(summary))),
      heading,
      h(
        "p",
        { class: "end-reason", testid: "end-reason", "data-reason": summary.reason },
        endText(summary, session.role),
      ),
      facts(summary, session.role === "expert"),
      h(
        "div",
        { class: "row wrap center" },
        outOfMoney ? button(t.end.again, { icon: "plus", action: () => topUpDialog(app) }) : null,
        summary.receipt_url ? receiptLink(summary.receipt_url, t.end.receipt) : null,
        button(t.end.done, { kind: "primary", testid: "end-close", action: () => app.leave() }),
      ),
    ),
  );
}

const CALM = new Set(["completed", "void", "canceled"]);

function markOf({ reason }: SessionSummary): "check" | "alert" {
  return CALM.has(reason) ? "check" : "alert";
}

function endText({ reason, ended_by }: SessionSummary, role: Role): string {
  const text = t.end.texts[reason] ?? "";
  return reason === "completed" ? `${t.end.by[ended_by === role ? "you" : ended_by]}. ${text}` : text;
}

function facts(summary: SessionSummary, expert: boolean): HTMLElement | null {
  if (["no_answer", "declined", "canceled"].includes(summary.reason)) return null;
  const { billed_seconds, blocks, total_minor, earned_minor, currency } = summary;
  const time = `${formatDuration(billed_seconds)}${blocks > 0 ? ` (${t.end.blocks(blocks)})` : ""}`;
  const list = h(
    "dl",
    { class: "facts end-facts" },
    fact(t.end.duration, time, { testid: "end-duration" }),
    fact(t.end.total, formatMoney(total_minor, currency), { class: "strong", testid: "end-total" }),
  );
  if (expert && earned_minor !== null) {
    list.append(
      fact(t.end.earned, formatMoney(earned_minor, currency), { class: "strong", testid: "end-earned" }),
    );
  }
  return list;
}
