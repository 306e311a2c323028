import type { Message } from "../client";
import { h, setText } from "../page/dom";
import { formatDateTime } from "../page/format";
import { errorText, toast } from "../page/notices";
import type { PartyCard } from "../page/rest";
import type { Scope } from "../page/signal";
import { button } from "../page/widgets";
import { field, fileList, filePicker, form, textarea, turns } from "./parts";
import type { Store } from "./store";
import { w } from "./words";

/** A conversation: what was written, newest at the bottom, and a form with attachments. */
export function conversation(store: Store, scope: Scope, id: string): HTMLElement {
  const log = h("ol", {
    class: "messages",
    testid: "messages",
    "aria-live": "polite",
    "aria-label": w.talk.log,
    tabindex: "0",
  });
  const note = h("p", { class: "muted", role: "status" }, w.loading);
  const earlier = h("div", { class: "row center" });
  const begin = turns();
  let other: PartyCard | null | undefined;
  const load = async () => {
    const counts = begin();
    try {
      other ??= (await store.api.conversation(id)).other;
      const page = await store.api.messages(id);
      if (!counts()) return;
      log.replaceChildren(...page.items.map((message) => item(store, message, other)));
      setText(note, page.items.length === 0 ? w.talk.empty : "");
      drawEarlier(page.next_cursor);
      log.scrollTop = log.scrollHeight;
      const last = page.items.at(-1);
      if (last) await store.api.read(id, last.seq);
      await store.refreshUnread();
    } catch (error) {
      setText(note, errorText(error));
    }
  };
  const drawEarlier = (cursor: string | null) => {
    earlier.replaceChildren();
    if (cursor) earlier.append(button(w.talk.earlier, { kind: "quiet", action: () => older(cursor) }));
  };
  const older = async (cursor: string) => {
    const page = await store.api.messages(id, cursor);
    log.prepend(...page.items.map((message) => item(store, message, other)));
    drawEarlier(page.next_cursor);
  };
  const onMessage = ({ message }: { message: Message }) => {
    if (message.conversation_id === id) void load();
  };
  scope.add(store.client.on("message.created", onMessage));
  void load();
  return h("div", { class: "talk" }, earlier, log, note, writeForm(store, id, load));
}

function writeForm(store: Store, id: string, sent: () => Promise<void>): HTMLElement {
  const text = textarea("", { rows: 2, maxlength: 4_000, testid: "message-input" });
  const picker = filePicker(store, "attachment", w.chooseFiles);
  return form([field(w.talk.write, text), picker.element], w.send, "message-send", async () => {
    const files = picker.ids();
    if (text.value.trim() === "" && files.length === 0) return text.focus();
    const { warning } = await store.api.write(id, text.value.trim(), files);
    text.value = "";
    picker.clear();
    if (warning) toast(warning, "error");
    await sent();
  });
}

/** Who wrote it: of two, the other; whoever is neither belongs to the staff. */
function author(store: Store, { author_id }: Message, other: PartyCard | null | undefined): string {
  if (author_id === null) return w.talk.system;
  if (author_id === store.user?.id) return w.talk.you;
  return author_id === other?.id ? other.display_name : w.talk.staff;
}

function item(store: Store, message: Message, other: PartyCard | null | undefined): HTMLElement {
  const own = message.author_id !== null && message.author_id === store.user?.id;
  const who = author(store, message, other);
  const kind = message.kind === "delivery" ? w.talk.delivery : null;
  const about = [who, kind, formatDateTime(message.created_at)].filter(Boolean).join(" · ");
  return h(
    "li",
    { class: "message", testid: "message", "data-own": own, "data-kind": message.kind },
    h("p", { class: "muted small" }, about),
    message.body ? h("p", { class: "prose", dir: "auto" }, message.body) : null,
    fileList(message.files, "message-file"),
  );
}
