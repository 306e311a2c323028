import type { MeterReading, Role } from "../../client";
import { h, setText, show } from "../dom";
import { formatClock, formatMoney } from "../format";
import { t } from "../strings";
import type { CallContext } from "./page";

const REDRAW_MS = 250;

/** The status line: session time, charged, balance or earnings, time left (T27, T53). */
export function meterLine({ session, scope }: CallContext): HTMLElement {
  const expert = session.role === "expert";
  const elapsed = cell(t.meter.elapsed, "status-elapsed");
  const charged = cell(t.meter.charged, "status-charged");
  const account = expert ? cell(t.meter.earned, "status-earned") : cell(t.meter.balance, "status-balance");
  const left = cell(t.meter.left, "status-left");
  const note = h("p", { class: "meter-note", testid: "meter-note" });
  const line = h(
    "section",
    { class: "meter", "aria-label": t.meter.label },
    h("dl", { class: "meter-cells" }, elapsed.element, charged.element, account.element, left.element),
    note,
  );
  const draw = () => {
    const reading = session.readMeter();
    if (!reading) return;
    line.dataset.state = reading.state;
    const money = (minor: number | null) => (minor === null ? "–" : formatMoney(minor, reading.currency));
    setText(elapsed.value, formatClock(reading.elapsedMs / 1000));
    setText(charged.value, money(reading.chargedMinor));
    setText(account.value, money(expert ? reading.earnedMinor : reading.balanceMinor));
    setText(left.value, reading.secondsLeft === null ? t.meter.unlimited : formatClock(reading.secondsLeft));
    const words = noteText(reading, session.role, session.snapshot.mode === "text");
    setText(note, words);
    show(note, words !== "");
  };
  scope.every(REDRAW_MS, draw);
  scope.add(session.on("meter", draw));
  draw();
  return line;
}

function cell(label: string, testid: string): { element: HTMLElement; value: HTMLElement } {
  const value = h("dd", { testid });
  return { element: h("div", { class: "meter-cell" }, h("dt", {}, label), value), value };
}

function noteText(reading: MeterReading, role: Role, text: boolean): string {
  switch (reading.state) {
    case "idle":
      return t.meter.idle;
    case "armed":
      return text ? armedText(role) : t.meter.armed;
    case "grace": {
      const clock = formatClock(Math.ceil((reading.graceLeftMs ?? 0) / 1000));
      return role === "expert" ? t.meter.graceExpert(clock) : t.meter.grace(clock);
    }
    case "paused":
      return t.meter.paused;
    case "running":
      return reading.nextChargeInMs === null || reading.nextChargeInMs > SHOW_NEXT_WITHIN_MS
        ? ""
        : t.meter.next(formatClock(Math.ceil(reading.nextChargeInMs / 1000)));
    case "ended":
      return "";
  }
}

function armedText(role: Role): string {
  return role === "customer" ? t.meter.armedText : t.meter.armedTextExpert;
}

/** The next charge is worth a note when it is near. */
const SHOW_NEXT_WITHIN_MS = 60_000;
