import type { Message } from "../../client";
import { h } from "../dom";
import { formatTime } from "../format";
import { t } from "../strings";
import { button } from "../widgets";
import type { ChatModel } from "./chat";
import type { Draft } from "./chat-log";
import type { CallContext } from "./page";

/** The messages, kept scrolled to the newest unless the reader scrolled away. */
export function chatList({ session, scope }: CallContext, model: ChatModel): HTMLElement {
  const list = h("ol", { class: "message-list" });
  const log = h("div", { class: "messages", role: "log", "aria-label": t.chat.title, tabindex: 0 }, list);
  const empty = emptyText(session.snapshot.mode === "text", session.role === "customer");
  let atEnd = true;
  const toEnd = () => {
    if (atEnd) log.scrollTop = log.scrollHeight;
  };
  log.addEventListener("scroll", () => {
    atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  });
  // A keyboard that comes up takes room from the list: the newest message stays in view.
  const sized = new ResizeObserver(toEnd);
  sized.observe(log);
  scope.add(() => sized.disconnect());
  const retry = (draft: Draft) => {
    log.focus({ preventScroll: true }); // its button goes away
    return model.retry(draft);
  };
  model.changed.watch(scope, () => {
    const { messages, drafts } = model.log;
    const readSeq = lastReadSeq(model);
    list.replaceChildren(
      ...(model.more ? [earlier(model)] : []),
      ...(messages.length + drafts.length === 0 ? [h("li", { class: "message-system" }, empty)] : []),
      ...messages.map((message) => bubble(message, model, readSeq)),
      ...drafts.map((draft) => draftBubble(draft, session.state === "ended" ? null : () => retry(draft))),
    );
    toEnd();
  });
  model.open.watch(scope, () => {
    atEnd = true;
    toEnd();
  });
  return log;
}

function emptyText(text: boolean, customer: boolean): string {
  if (!text) return t.chat.empty;
  return customer ? t.chat.emptyText : t.chat.emptyTextExpert;
}

/** The newest own message that the other party has read carries the mark. */
function lastReadSeq({ log, ownId, otherReadSeq }: ChatModel): number {
  const read = log.messages.filter(({ author_id, seq }) => author_id === ownId && seq <= otherReadSeq);
  return read.at(-1)?.seq ?? 0;
}

function earlier(model: ChatModel): HTMLElement {
  const action = () => model.load(model.log.firstSeq);
  return h("li", { class: "message-system" }, button(t.chat.more, { kind: "quiet", action }));
}

function bubble(message: Message, model: ChatModel, readSeq: number): HTMLElement {
  if (message.author_id === null) {
    return h(
      "li",
      { class: "message-system", testid: "chat-message", "data-seq": message.seq },
      message.body,
    );
  }
  const own = message.author_id === model.ownId;
  return h(
    "li",
    {
      class: own ? "message own" : "message",
      testid: "chat-message",
      "data-own": own,
      "data-seq": message.seq,
    },
    h("p", { class: "message-body", dir: "auto" }, message.body),
    h(
      "p",
      { class: "message-meta" },
      h("time", { datetime: message.created_at }, formatTime(message.created_at)),
      message.seq === readSeq ? h("span", { testid: "chat-read" }, ` · ${t.chat.read}`) : null,
    ),
  );
}

/** `retry`: null once nothing can be sent any more. */
function draftBubble({ body, failed }: Draft, retry: (() => Promise<void>) | null): HTMLElement {
  return h(
    "li",
    { class: "message own pending", testid: "chat-draft" },
    h("p", { class: "message-body", dir: "auto" }, body),
    h("p", { class: "message-meta" }, failed ? t.chat.failed : t.chat.sending),
    failed && retry ? button(t.retry, { kind: "quiet", testid: "chat-retry", action: retry }) : null,
  );
}
