import { h, show } from "../page/dom";
import { formatDateTime } from "../page/format";
import type { Scope } from "../page/signal";
import { word } from "../page/strings";
import { button } from "../page/widgets";
import { askDialog, linkButton, loaded, pageHead, prose, stateChip } from "./parts";
import type { Case } from "./rest";
import type { Store } from "./store";
import { conversation } from "./talk";
import { w } from "./words";

/** A dispute or complaint: what it is about, where it stands, and the messages with staff (T82). */
export function casePage(store: Store, scope: Scope, id: string): HTMLElement {
  const talk = h("section", { class: "card talk-card", hidden: true });
  const { element, again } = loaded(
    () => store.api.caseDetail(id),
    (found, redraw) => {
      if (talk.hidden && found.conversation_id) {
        talk.append(h("h2", { class: "card-title" }, w.orders.correspondence));
        talk.append(conversation(store, scope, found.conversation_id));
        show(talk, true);
      }
      return details(store, found, redraw);
    },
  );
  store.onNews(scope, ["case"], () => void again(), id);
  return h("div", { class: "order-page" }, element, talk);
}

function details(store: Store, found: Case, again: () => Promise<void>): HTMLElement {
  const withdraw = () =>
    askDialog({ title: w.cases.withdraw, confirm: w.cases.withdraw, text: found.title }, async () => {
      await store.api.withdrawCase(found.id);
      await again();
    });
  return h(
    "div",
    { class: "stack", testid: "case", "data-state": found.state, "data-id": found.id },
    pageHead(
      found.title,
      h(
        "p",
        { class: "row wrap" },
        h("span", { class: "muted" }, found.number),
        stateChip(found.state, w.cases.states),
      ),
    ),
    found.state === "info_requested" ? h("p", { class: "note" }, w.cases.answer) : null,
    decision(found),
    found.body ? part(w.cases.complaint, prose(found.body)) : null,
    found.timeline.length > 0 ? part(w.cases.story, story(found)) : null,
    h(
      "div",
      { class: "row wrap" },
      found.subject_type === "order" ? linkButton(w.cases.about, `#/order/${found.subject_id}`) : null,
      found.actions.includes("withdraw")
        ? button(w.cases.withdraw, { kind: "quiet", testid: "case-withdraw", action: withdraw })
        : null,
    ),
  );
}

function decision({ decision: decided, reason }: Case): HTMLElement | null {
  if (decided === null) return null;
  const words = h("p", { class: "strong" }, word(w.cases.decisions, decided));
  return part(w.cases.decision, words, reason ? prose(reason) : null);
}

function part(title: string, ...content: (HTMLElement | null)[]): HTMLElement {
  return h("section", { class: "card" }, h("h2", { class: "card-title" }, title), ...content);
}

function story({ timeline }: Case): HTMLElement {
  return h(
    "ol",
    { class: "stack" },
    ...timeline.map(({ at, text }) =>
      h("li", {}, h("p", { class: "muted small" }, formatDateTime(at)), h("p", { dir: "auto" }, text)),
    ),
  );
}
