import { h, setText } from "../page/dom";
import { weekdays } from "../page/format";
import { formatNumber, isRightToLeft } from "../page/language";
import { w } from "./words";

const HOURS = 24;

/**
 * The week as a table of hours, Monday first; with `changed` its cells are buttons. One of them is in the
 * order of Tab, arrow keys move among the rest.
 */
export function weekGrid(grid: string, changed?: (grid: string) => void): HTMLElement {
  let cells = grid;
  const buttons: HTMLButtonElement[] = [];
  const names = weekdays("long");
  const figures = Array.from({ length: HOURS + 1 }, (_, hour) => formatNumber(hour));
  const label = (day: number, hour: number, free: boolean) =>
    w.expert.cell(names[day] ?? "", figures[hour] ?? "", figures[hour + 1] ?? "", freeWord(free));
  const cell = (day: number, hour: number): HTMLElement => {
    const at = day * HOURS + hour;
    const free = cells[at] === "1";
    if (!changed) return h("td", { "data-free": free }, hiddenWord(free));
    const element = h("button", {
      type: "button",
      class: "week-cell",
      testid: "week-cell",
      "aria-pressed": String(free),
      "aria-label": label(day, hour, free),
      tabindex: at === 0 ? "0" : "-1",
    });
    element.addEventListener("click", () => {
      const now = cells[at] !== "1";
      cells = cells.slice(0, at) + (now ? "1" : "0") + cells.slice(at + 1);
      element.setAttribute("aria-pressed", String(now));
      element.setAttribute("aria-label", label(day, hour, now));
      changed(cells);
    });
    element.addEventListener("keydown", (event) => move(buttons, at, event));
    buttons[at] = element;
    return h("td", { class: "edit" }, element);
  };
  const hours = Array.from({ length: HOURS }, (_, hour) => hour);
  const corner = h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, w.expert.day));
  return h(
    "div",
    { class: "table-scroll", role: "region", "aria-label": w.expert.week, tabindex: changed ? null : "0" },
    h(
      "table",
      { class: "week", testid: "week" },
      h("thead", {}, h("tr", {}, corner, ...hours.map((hour) => h("th", { scope: "col" }, figures[hour])))),
      h(
        "tbody",
        {},
        ...weekdays("short").map((short, day) => {
          const head = h("th", { scope: "row" });
          setText(head, short);
          head.setAttribute("abbr", names[day] ?? short);
          return h("tr", {}, head, ...hours.map((hour) => cell(day, hour)));
        }),
      ),
    ),
  );
}

function freeWord(free: boolean): string {
  return free ? w.expert.freeCell : w.expert.busyCell;
}

function hiddenWord(free: boolean): HTMLElement {
  return h("span", { class: "visually-hidden" }, freeWord(free));
}

const STEPS: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: HOURS, ArrowUp: -HOURS };

function move(buttons: HTMLButtonElement[], at: number, event: KeyboardEvent): void {
  const step = STEPS[event.key] ?? Number.NaN;
  // Where one reads from right to left, the hours run to the left.
  const next = buttons[at + (Math.abs(step) === 1 && isRightToLeft() ? -step : step)];
  if (!next) return;
  event.preventDefault();
  buttons[at]?.setAttribute("tabindex", "-1");
  next.setAttribute("tabindex", "0");
  next.focus();
}
