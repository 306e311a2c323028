import type { Message } from "../client";
import { h } from "../page/dom";
import { formatDateTime } from "../page/format";
import { formatNumber } from "../page/language";
import type { Scope } from "../page/signal";
import { avatar } from "../page/widgets";
import { blockButton } from "./marks";
import { field, loaded, pageHead, select } from "./parts";
import type { Conversation } from "./rest";
import type { Store } from "./store";
import { conversation } from "./talk";
import { w } from "./words";

/** Every conversation of the user, the latest first, with what is unread. */
export function inboxPage(store: Store, scope: Scope): HTMLElement {
  const kinds = Object.entries(w.inbox.kinds);
  const kind = select([["", w.inbox.all], ["unread", w.inbox.unread], ...kinds], "", {
    testid: "inbox-kind",
  });
  const wanted = () => (kind.value === "unread" ? { unread: true } : { kind: kind.value });
  const { element, again } = loaded(
    () => store.api.conversations({ ...wanted(), limit: 50 }),
    ({ items }) =>
      items.length === 0
        ? h("p", { class: "muted" }, w.inbox.empty)
        : h("ul", { class: "stack" }, ...items.map(row)),
  );
  kind.addEventListener("change", () => void again());
  scope.add(store.client.on("message.created", () => void again()));
  return h(
    "div",
    { class: "stack narrow" },
    pageHead(w.inbox.title),
    h("div", { class: "filters" }, field(w.orders.view, kind)),
    element,
  );
}

function row(talk: Conversation): HTMLElement {
  const { about, other, last_message, unread } = talk;
  const title = about.title || other?.display_name || w.talk.system;
  return h(
    "li",
    { class: "card order-row", testid: "conversation", "data-id": talk.id, "data-unread": unread },
    avatar(other?.display_name ?? w.talk.system, other?.id ?? talk.id),
    h(
      "div",
      { class: "grow" },
      h("h2", { class: "order-title", dir: "auto" }, h("a", { class: "plain", href: hrefOf(talk) }, title)),
      h(
        "p",
        { class: "muted small" },
        [w.inbox.kinds[talk.kind], other?.display_name].filter(Boolean).join(" · "),
      ),
      last_message ? h("p", { class: "listing-text one-line", dir: "auto" }, saidIn(last_message)) : null,
    ),
    h("span", { class: "muted small" }, formatDateTime(talk.updated_at)),
    unread > 0
      ? h(
          "span",
          { class: "badge" },
          h("span", { "aria-hidden": "true" }, formatNumber(unread)),
          h("span", { class: "visually-hidden" }, w.nav.unread(unread)),
        )
      : null,
  );
}

/** Its words, or the names of the files that came without any. */
function saidIn({ body, files }: Message): string {
  return body || files.map(({ name }) => name).join(", ");
}

/** Those of orders and cases are read on the page of what they belong to. */
function hrefOf({ id, about }: Conversation): string {
  return about.type === "order" || about.type === "case" ? `#/${about.type}/${about.id}` : `#/talk/${id}`;
}

/** One conversation that is not an order's. */
export function talkPage(store: Store, scope: Scope, id: string): HTMLElement {
  const { element } = loaded(
    () => store.api.conversation(id),
    ({ about, other }) =>
      h(
        "div",
        { class: "stack narrow" },
        pageHead(
          about.title || other?.display_name || w.inbox.title,
          other ? blockButton(store, other.id, other.display_name) : null,
          about.type === "request" ? h("p", {}, h("a", { href: `#/request/${about.id}` }, w.open)) : null,
        ),
        h("section", { class: "card" }, conversation(store, scope, id)),
      ),
  );
  return element;
}
