import type { Message } from "../../client";
import { randomId } from "../../client/outbox";
import { h, setText, show } from "../dom";
import { icon } from "../icons";
import { toastError } from "../notices";
import { Signal } from "../signal";
import { t } from "../strings";
import { chatList } from "./chat-list";
import { ChatLog, type Draft } from "./chat-log";
import type { CallContext } from "./page";

const TYPING_EVERY_MS = 3_000;
const TYPING_SHOWN_MS = 6_000;

export interface ChatPanel extends HTMLElement {
  open: Signal<boolean>;
  unread: Signal<number>;
}

/** The conversation beside the call, or, in a text session, the session itself. */
export function chatPanel(context: CallContext): ChatPanel {
  const { session, scope } = context;
  const text = session.snapshot.mode === "text";
  const model = new ChatModel(context, text || window.matchMedia("(min-width: 900px)").matches);
  const panel = h(
    "aside",
    { class: "chat", testid: "chat", "aria-label": t.chat.title },
    chatList(context, model),
    typingLine(context),
    composer(context, model),
  );
  model.open.watch(scope, (open) => panel.classList.toggle("chat-open", open));
  model.open.watch(scope, () => model.markRead());
  model.changed.watch(scope, () => model.markRead());
  scope.listen("focus", () => model.markRead());
  void model.load();
  return Object.assign(panel, { open: model.open, unread: model.unread });
}

/** What the panel shows, and the traffic behind it. */
export class ChatModel {
  readonly log = new ChatLog();
  readonly changed = new Signal(0);
  readonly unread = new Signal(0);
  readonly open: Signal<boolean>;
  /** How far the other party has read. */
  otherReadSeq = 0;
  more = false;
  #readSeq = 0;

  constructor(
    private readonly context: CallContext,
    open: boolean,
  ) {
    this.open = new Signal(open);
    const { session, scope } = context;
    scope.add(session.on("message", (message) => this.#arrived(message)));
    scope.add(session.on("read", ({ user_id, seq }) => this.#readBy(user_id, seq)));
    scope.add(session.on("joined", () => void this.load()));
    scope.add(session.on("ended", () => this.#tell()));
  }

  get ownId(): string {
    return this.context.app.user.id;
  }

  async load(beforeSeq: number | null = null): Promise<void> {
    try {
      const { messages, more } = await this.context.session.history(beforeSeq);
      const known = this.log.firstSeq;
      for (const message of messages) this.log.add(message);
      if (beforeSeq !== null || known === null) this.more = more;
      this.#tell();
    } catch (error) {
      if (beforeSeq !== null) toastError(error);
    }
  }

  send(body: string): Promise<void> {
    return this.#deliver(randomId(), body);
  }

  /** Once more under its own id: should it have arrived after all, it is not written twice. */
  retry({ key, body }: Draft): Promise<void> {
    return this.#deliver(key, body);
  }

  async #deliver(key: string, body: string): Promise<void> {
    this.log.draft(key, body);
    this.#tell();
    try {
      this.log.sent(key, await this.context.session.sendMessage(body, key));
    } catch (error) {
      this.log.failed(key);
      toastError(error);
    }
    this.#tell();
  }

  /** Marks what is on the screen as read. */
  markRead(): void {
    const visible = this.open.value && document.visibilityState === "visible";
    const { lastSeq } = this.log;
    if (visible && lastSeq > this.#readSeq && this.log.unreadAfter(this.#readSeq, this.ownId) > 0) {
      this.context.session.markRead(lastSeq).catch(() => undefined);
    }
    if (visible) this.#readSeq = Math.max(this.#readSeq, lastSeq);
    this.unread.set(this.log.unreadAfter(this.#readSeq, this.ownId));
  }

  #arrived(message: Message): void {
    if (this.log.add(message)) this.#tell();
  }

  #readBy(userId: string, seq: number): void {
    if (userId === this.ownId) return;
    this.otherReadSeq = Math.max(this.otherReadSeq, seq);
    this.#tell();
  }

  #tell(): void {
    this.changed.set(this.changed.value + 1);
  }
}

function typingLine({ session, scope }: CallContext): HTMLElement {
  const line = h("p", { class: "typing muted small", testid: "chat-typing", "aria-live": "polite" });
  let timer: ReturnType<typeof setTimeout> | undefined;
  scope.add(() => clearTimeout(timer));
  scope.add(
    session.on("typing", ({ role, typing }) => {
      if (role === session.role) return;
      clearTimeout(timer);
      setText(line, typing ? t.chat.typing(session.snapshot[role].display_name) : "");
      timer = setTimeout(() => setText(line, ""), TYPING_SHOWN_MS);
    }),
  );
  scope.add(session.on("message", () => setText(line, "")));
  return line;
}

function composer({ session, scope }: CallContext, model: ChatModel): HTMLElement {
  const input = h("textarea", {
    rows: 1,
    maxlength: 4000,
    placeholder: t.chat.placeholder,
    "aria-label": t.chat.placeholder,
    testid: "chat-input",
  });
  const submit = () => {
    const body = input.value.trim();
    if (body === "") return;
    input.value = "";
    typing.stop();
    void model.send(body);
  };
  const typing = typingSender((on) => session.setTyping(on).catch(() => undefined));
  scope.add(() => typing.stop());
  input.addEventListener("input", () => (input.value.trim() === "" ? typing.stop() : typing.keep()));
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  const onSubmit = (event: Event) => {
    event.preventDefault();
    submit();
    input.focus();
  };
  const send = h("button", { class: "send", "aria-label": t.chat.send, testid: "chat-send" }, icon("send"));
  const form = h("form", { class: "composer", on: { submit: onSubmit } }, input, send);
  const follow = () => show(form, session.state !== "ended");
  scope.add(session.on("updated", follow));
  return form;
}

/** Tells that someone types, at most every few seconds, and that they stopped. */
function typingSender(tell: (on: boolean) => void): { keep: () => void; stop: () => void } {
  let toldAtMs = Number.NEGATIVE_INFINITY;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stop = () => {
    clearTimeout(timer);
    if (toldAtMs === Number.NEGATIVE_INFINITY) return;
    toldAtMs = Number.NEGATIVE_INFINITY;
    tell(false);
  };
  const keep = () => {
    clearTimeout(timer);
    timer = setTimeout(stop, TYPING_EVERY_MS);
    if (performance.now() - toldAtMs < TYPING_EVERY_MS) return;
    toldAtMs = performance.now();
    tell(true);
  };
  return { keep, stop };
}
