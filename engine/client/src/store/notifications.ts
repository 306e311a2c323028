import { h, setText, show } from "../page/dom";
import { formatDateTime } from "../page/format";
import { errorText, toastError } from "../page/notices";
import type { Scope } from "../page/signal";
import { button } from "../page/widgets";
import { pageOfUrl } from "./links";
import { field, pageHead, select, turns } from "./parts";
import type { Notification } from "./rest";
import type { Store } from "./store";
import { w } from "./words";

/** What the user was told, newest first; whoever follows one has read it. */
export function notificationsPage(store: Store, scope: Scope): HTMLElement {
  const which = select(
    [
      ["", w.notifications.all],
      ["true", w.notifications.unread],
    ],
    "",
    { testid: "notifications-view" },
  );
  const list = h("ul", { class: "stack", testid: "notifications" });
  const note = h("p", { class: "muted", role: "status" }, w.loading);
  const more = h("div", { class: "row center" });
  const begin = turns();
  const load = async (cursor?: string) => {
    const counts = begin();
    try {
      const page = await store.api.notifications({ unread: which.value, cursor });
      if (!counts()) return;
      store.notices.set(page.unread);
      if (!cursor) list.replaceChildren();
      list.append(...page.items.map((one) => row(store, one, () => load())));
      setText(note, list.childElementCount === 0 ? w.notifications.empty : "");
      more.replaceChildren();
      const next = page.next_cursor;
      if (next) more.append(button(w.more, { action: () => load(next) }));
    } catch (error) {
      setText(note, errorText(error));
    }
  };
  const readAll = button(w.notifications.readAll, {
    testid: "read-all",
    action: async () => {
      await store.readNotifications();
      await load();
    },
  });
  store.notices.watch(scope, (count) => show(readAll, count > 0));
  which.addEventListener("change", () => void load());
  scope.add(store.client.on("notification.created", () => void load()));
  void load();
  return h(
    "div",
    { class: "stack narrow" },
    pageHead(w.notifications.title),
    h("div", { class: "filters" }, field(w.orders.view, which), readAll),
    note,
    list,
    more,
  );
}

function row(store: Store, notice: Notification, again: () => Promise<void>): HTMLElement {
  const { id, title, url, read, at } = notice;
  const mark = async () => {
    await store.readNotifications([id]);
    await again();
  };
  const link = h(
    "a",
    { class: "plain", href: pageOfUrl(url), dir: "auto", testid: "notification-link" },
    title,
  );
  if (!read) link.addEventListener("click", () => void store.readNotifications([id]).catch(toastError));
  return h(
    "li",
    { class: "card order-row", testid: "notification", "data-id": id, "data-read": String(read) },
    h(
      "div",
      { class: "grow" },
      h("p", { class: read ? "" : "strong" }, link),
      h("p", { class: "muted small" }, formatDateTime(at)),
    ),
    read ? null : h("span", { class: "chip state", "data-state": "open" }, w.notifications.isNew),
    read
      ? null
      : button(w.notifications.read, {
          kind: "quiet",
          class: "small",
          testid: "notification-read",
          "aria-label": w.notifications.readThis(title),
          action: mark,
        }),
  );
}
