import { type DialogHandle, openDialog } from "../dialog";
import { h, setText, show } from "../dom";
import { icon } from "../icons";
import { announce, toast, toastError } from "../notices";
import { t } from "../strings";
import { button } from "../widgets";
import type { CallContext } from "./page";
import { failedText, recordingNews } from "./recording-words";

/** The mark that a call is recorded, or that the other party was asked. It stays as long as that is so. */
export function recordingMark(context: CallContext): HTMLElement {
  const { session, scope } = context;
  const words = h("p", { class: "grow" });
  const stop = button(t.recording.stop, {
    class: "small",
    testid: "recording-stop",
    action: () => session.stopRecording(),
  });
  const mark = h("section", { class: "recording", testid: "recording" }, icon("record"), words, stop);
  mark.setAttribute("aria-label", t.recording.label);
  const follow = () => {
    const { recording, role } = session.snapshot;
    const recorded = recording.state === "recording";
    mark.dataset.state = recording.state;
    show(mark, recorded || (recording.state === "requested" && recording.by === role));
    setText(words, recorded ? t.recording.running : t.recording.waiting(otherName(context)));
    setText(stop, recorded ? t.recording.stop : t.recording.withdraw);
  };
  scope.add(session.on("updated", follow));
  follow();
  question(context);
  return mark;
}

/** What the other party or the engine did to the recording; it stays until it was read. */
export function recordingNotice(context: CallContext): HTMLElement {
  const { session, scope } = context;
  const words = h("p", { class: "grow" });
  const close = h(
    "button",
    {
      type: "button",
      class: "icon-button",
      "aria-label": t.recording.noticeClose,
      testid: "recording-notice-close",
      on: { click: () => show(notice, false) },
    },
    icon("close"),
  );
  const notice = h(
    "div",
    { class: "banner banner-warning", testid: "recording-notice" },
    icon("record", "off"),
    words,
    close,
  );
  const say = (text: string | null) => {
    setText(words, text ?? "");
    show(notice, text !== null);
  };
  const { state, reason } = session.snapshot.recording;
  say(state === "failed" ? failedText(reason) : null);
  scope.add(
    session.on("recording", (view) => {
      const news = recordingNews(view, session.role, otherName(context));
      const over = view.state !== "recording" && view.state !== "requested";
      say(over && news && !news.own ? news.text : null);
      // The question announces itself: focus moves into its dialog.
      if (news && over && news.own) toast(news.text);
      else if (news && view.state !== "requested") announce(news.text, true);
    }),
  );
  return notice;
}

/** Asks this party; whoever closes the question without an answer has not agreed. */
function question(context: CallContext): void {
  const { app, session, scope } = context;
  let dialog: DialogHandle | null = null;
  const asked = () => {
    const { state, by } = session.snapshot.recording;
    return state === "requested" && by !== session.role;
  };
  const follow = () => {
    if (!asked()) dialog?.close();
    else if (!dialog) {
      app.sounds.chime();
      const opened = askDialog(context);
      dialog = opened;
      void opened.closed.then(() => {
        dialog = null;
        if (asked() && !ended) session.consentToRecording(false).catch(toastError);
      });
    }
  };
  let ended = false;
  scope.add(() => {
    ended = true;
    dialog?.close();
  });
  scope.add(session.on("updated", follow));
  follow();
}

function askDialog(context: CallContext): DialogHandle {
  const { session } = context;
  const answer = (consent: boolean) => () => session.consentToRecording(consent);
  return openDialog(
    t.recording.title,
    "recording-dialog",
    // Neither answer has the focus at first: who is typing must not agree by pressing Enter.
    h("p", { tabindex: -1, "data-autofocus": true }, t.recording.asks(otherName(context))),
    h("p", { class: "muted small" }, t.recording.asksHint),
    h(
      "footer",
      { class: "dialog-actions" },
      button(t.recording.decline, { testid: "recording-decline", action: answer(false) }),
      button(t.recording.agree, { kind: "primary", testid: "recording-agree", action: answer(true) }),
    ),
  );
}

function otherName({ session }: CallContext): string {
  const { role, customer, expert } = session.snapshot;
  return (role === "customer" ? expert : customer).display_name;
}
