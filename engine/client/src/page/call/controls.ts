import type { MediaKind } from "../../client";
import { append, h, setText, show } from "../dom";
import { type IconName, icon } from "../icons";
import { t } from "../strings";
import { busyWhile } from "../widgets";
import type { ChatPanel } from "./chat";
import type { CallContext } from "./page";
import { phaseOf } from "./phase";

/** Microphone, camera, direction, chat, end. Keys: M, V, C (outside of text fields). */
export function controls(context: CallContext, chat: ChatPanel): HTMLElement {
  const { session } = context;
  const text = session.snapshot.mode === "text";
  const microphone = text ? null : deviceButton(context, "audio");
  const camera = session.snapshot.mode === "video" ? deviceButton(context, "video") : null;
  const toggle = text ? null : chatToggle(context, chat);
  shortcuts(context, { m: microphone, v: camera, c: toggle });
  const bar = h("footer", { class: "controls" });
  append(bar, [
    microphone,
    camera,
    session.role === "customer" && !text ? directionButton(context) : null,
    toggle,
    recordButton(context),
    hangupButton(context),
  ]);
  return bar;
}

function control(testid: string, action: () => unknown): { element: HTMLButtonElement; label: HTMLElement } {
  const label = h("span", { class: "control-label" });
  const element = h("button", { type: "button", class: "control", testid }, label);
  element.addEventListener("click", () => void busyWhile(element, action));
  return { element, label };
}

function setIcon(element: HTMLElement, ...names: IconName[]): void {
  element.querySelector("svg")?.remove();
  element.prepend(icon(...names));
}

const DEVICE = {
  audio: { testid: "microphone", icon: "microphone", label: t.call.microphone },
  video: { testid: "camera", icon: "camera", label: t.call.camera },
} as const;

function deviceButton({ session, scope }: CallContext, kind: MediaKind): HTMLButtonElement {
  const names = DEVICE[kind];
  const { media } = session;
  const isOn = () => media.devices.get(kind) !== null;
  const { element, label } = control(names.testid, () => media.setDevice(kind, !isOn()));
  setText(label, names.label);
  const follow = () => {
    const { role, direction } = session.snapshot;
    const phase = phaseOf(session.snapshot);
    const barred = role === "customer" && direction === "one_way";
    element.setAttribute("aria-pressed", String(isOn()));
    element.disabled = barred;
    element.title = barred ? t.call.oneWayFirst : "";
    setIcon(element, ...(isOn() ? [names.icon] : [names.icon, "off" as const]));
    show(element, phase !== "ready");
  };
  scope.add(media.on("local", follow));
  scope.add(session.on("updated", follow));
  follow();
  return element;
}

/** One way and two ways cost the same (T25, T26); going one way also releases the devices. */
function directionButton({ session, scope }: CallContext): HTMLButtonElement {
  const oneWay = () => session.snapshot.direction === "one_way";
  const { element, label } = control("direction", async () => {
    const next = oneWay() ? "two_way" : "one_way";
    if (next === "one_way") {
      await session.setCamera(false);
      await session.setMicrophone(false);
    }
    await session.setDirection(next);
  });
  setIcon(element, "swap");
  setText(label, t.call.oneWay);
  const follow = () => {
    element.setAttribute("aria-pressed", String(oneWay()));
    element.title = oneWay() ? t.call.makeTwoWay : t.call.makeOneWay;
  };
  scope.add(session.on("updated", follow));
  follow();
  return element;
}

function chatToggle({ scope }: CallContext, chat: ChatPanel): HTMLButtonElement {
  const { element, label } = control("chat-toggle", () => chat.open.set(!chat.open.value));
  const figure = h("span", { "aria-hidden": "true" });
  const words = h("span", { class: "visually-hidden" });
  const unread = h("span", { class: "badge", hidden: true }, figure, words);
  setIcon(element, "chat");
  setText(label, t.call.chat);
  element.append(unread);
  chat.open.watch(scope, (open) => element.setAttribute("aria-expanded", String(open)));
  chat.unread.watch(scope, (count) => {
    setText(figure, String(count));
    setText(words, t.chat.unread(count));
    show(unread, count > 0);
  });
  return element;
}

/** Only where calls may be recorded at all; the banner tells the rest. */
function recordButton({ session, scope }: CallContext): HTMLButtonElement {
  const { element, label } = control("record", () => session.requestRecording());
  setIcon(element, "record");
  setText(label, t.recording.record);
  element.title = t.recording.recordHint;
  const follow = () => {
    const { recording } = session.snapshot;
    const open = recording.state === "requested" || recording.state === "recording";
    show(element, recording.possible && !open && phaseOf(session.snapshot) === "live");
  };
  scope.add(session.on("updated", follow));
  follow();
  return element;
}

function hangupButton({ session, scope }: CallContext): HTMLButtonElement {
  const { element, label } = control("hangup", () => session.end());
  element.classList.add("control-hangup");
  element.setAttribute("aria-label", t.call.hangupLabel);
  setIcon(element, "hangup");
  setText(label, t.call.hangup);
  // While it rings the waiting screen has its own button.
  const follow = () => show(element, phaseOf(session.snapshot) !== "waiting");
  scope.add(session.on("updated", follow));
  follow();
  return element;
}

function shortcuts({ scope }: CallContext, keys: Record<string, HTMLButtonElement | null>): void {
  scope.listen("keydown", (event) => {
    const typing = event.target instanceof Element && event.target.closest("input, textarea, dialog");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const element = keys[event.key.toLowerCase()];
    if (element && !element.hidden && !element.disabled) element.click();
  });
}
