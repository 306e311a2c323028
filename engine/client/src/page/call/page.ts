import type { CallSession } from "../../client";
import type { App } from "../app";
import { h, setText, show } from "../dom";
import { announce, toastError } from "../notices";
import { Scope } from "../signal";
import { t } from "../strings";
import { callBadge, connectionBanner } from "../views/shell";
import { avatar, button } from "../widgets";
import { banners } from "./banners";
import { chatPanel } from "./chat";
import { controls } from "./controls";
import { endScreen } from "./ended";
import { keepAwake } from "./keep-awake";
import { meterLine } from "./meter-line";
import { type Phase, phaseOf } from "./phase";
import { qualityHint } from "./quality-hint";
import { recordingMark } from "./recording";
import { readyPanel, stage } from "./stage";

export interface CallContext {
  app: App;
  session: CallSession;
  scope: Scope;
}

/** The page of one session, from ringing to the receipt; it follows the session by itself. */
export function callPage(app: App, session: CallSession, scope: Scope): HTMLElement {
  const context = { app, session, scope };
  const page = h("div", { class: "call", testid: "call-page", "data-mode": session.snapshot.mode });
  let phase: Phase | null = null;
  let drawn = new Scope();
  scope.add(() => drawn.end());
  const follow = () => {
    const next = phaseOf(session.snapshot);
    page.dataset.phase = next;
    page.dataset.direction = session.snapshot.direction;
    if (next === phase) return;
    const redraw = phase === null || next === "ended";
    phase = next;
    sound(context, next);
    tell(context, next);
    if (!redraw) return;
    drawn.end();
    drawn = new Scope();
    const inner = { ...context, scope: drawn };
    page.replaceChildren(...(next === "ended" ? [endScreen(inner)] : room(inner)));
  };
  scope.add(session.on("updated", follow));
  scope.add(session.on("problem", toastError));
  scope.add(session.on("started", () => announce(t.meter.started)));
  follow();
  return page;
}

function room(context: CallContext): HTMLElement[] {
  const text = context.session.snapshot.mode === "text";
  const chat = chatPanel(context);
  const overlay = h("div", { class: "overlay" }, waitingPanel(context), text ? null : readyPanel(context));
  const body = text
    ? h("main", { class: "call-body" }, chat, overlay)
    : h("main", { class: "call-body" }, stage(context, overlay), chat);
  keepAwake(context.scope);
  return [head(context), recordingMark(context), banners(context), body, controls(context, chat)];
}

function head({ app, session, scope }: CallContext): HTMLElement {
  const { snapshot } = session;
  const other = snapshot.role === "customer" ? snapshot.expert : snapshot.customer;
  return h(
    "header",
    { class: "call-head" },
    h(
      "div",
      { class: "call-who" },
      avatar(other.display_name, other.user_id, "small"),
      h(
        "div",
        { class: "grow" },
        h("h1", { class: "call-name" }, other.display_name),
        h("p", { class: "call-title" }, snapshot.title),
      ),
      app.isExpert ? callBadge(app, scope) : null,
      qualityHint({ app, session, scope }),
    ),
    meterLine({ app, session, scope }),
    connectionBanner(app, scope),
  );
}

/** The waiting screen until the expert answers (T48), and between answer and first frame. */
function waitingPanel({ session, scope }: CallContext): HTMLElement {
  const { expert } = session.snapshot;
  const title = h("p", { class: "overlay-title" });
  const hint = h("p", { class: "overlay-hint" });
  const cancel = button(t.call.cancel, {
    kind: "danger",
    icon: "hangup",
    testid: "call-cancel",
    action: () => session.cancel(),
  });
  const panel = h(
    "div",
    { class: "waiting", testid: "waiting" },
    h("div", { class: "pulse" }, avatar(expert.display_name, expert.user_id, "large")),
    title,
    hint,
    cancel,
  );
  const follow = () => {
    const phase = phaseOf(session.snapshot);
    const ringing = phase === "waiting";
    show(panel, ringing || phase === "connecting");
    show(cancel, ringing);
    const name = expert.display_name;
    setText(title, ringing ? t.call.waiting(name) : t.call.connectingCustomer(name));
    setText(hint, ringing ? t.call.waitingHint : t.call.connectingCustomerHint);
  };
  scope.add(session.on("updated", follow));
  follow();
  return panel;
}

function sound({ app }: CallContext, phase: Phase): void {
  if (phase === "waiting") app.sounds.ring("waiting");
  else app.sounds.stop();
}

/** What a phase shows, for those who hear the page. The end takes the focus and is read by that. */
function tell({ session }: CallContext, phase: Phase): void {
  const { role, customer, expert } = session.snapshot;
  if (phase === "waiting") announce(t.call.waiting(expert.display_name));
  if (phase === "connecting") announce(t.call.connectingCustomer(expert.display_name));
  if (phase === "ready") announce(t.call.readyTitle(customer.display_name));
  if (phase === "live") {
    announce(t.call.connected((role === "customer" ? expert : customer).display_name));
  }
}
