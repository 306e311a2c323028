import { h, setText } from "../page/dom";
import { w } from "./words";

const HOURS = 24;

/**
 * The week as a table of hours, Monday first; with `changed` its cells are buttons. One of them is in the
 * order of Tab, arrow keys move among the rest.
 */
export function weekGrid(grid: string, changed?: (grid: string) => void): HTMLElement {
  let cells = grid;
  const buttons: HTMLButtonElement[] = [];
  const cell = (day: number, hour: number): HTMLElement => {
    const at = day * HOURS + hour;
    const free = cells[at] === "1";
    if (!changed) return h("td", { "data-free": free }, hiddenWord(free));
    const element = h("button", {
      type: "button",
      class: "week-cell",
      testid: "week-cell",
      "aria-pressed": String(free),
      "aria-label": cellLabel(day, hour, free),
      tabindex: at === 0 ? "0" : "-1",
    });
    element.addEventListener("click", () => {
      const now = cells[at] !== "1";
      cells = cells.slice(0, at) + (now ? "1" : "0") + cells.slice(at + 1);
      element.setAttribute("aria-pressed", String(now));
      element.setAttribute("aria-label", cellLabel(day, hour, now));
      changed(cells);
    });
    element.addEventListener("keydown", (event) => move(buttons, at, event));
    buttons[at] = element;
    return h("td", { class: "edit" }, element);
  };
  const hours = Array.from({ length: HOURS }, (_, hour) => hour);
  return h(
    "div",
    { class: "table-scroll", role: "region", "aria-label": w.expert.week, tabindex: changed ? null : "0" },
    h(
      "table",
      { class: "week", testid: "week" },
      h("thead", {}, h("tr", {}, h("td", {}), ...hours.map((hour) => h("th", { scope: "col" }, hour)))),
      h(
        "tbody",
        {},
        ...w.expert.days.map((name, day) => {
          const head = h("th", { scope: "row" });
          setText(head, name.slice(0, 3));
          head.setAttribute("abbr", name);
          return h("tr", {}, head, ...hours.map((hour) => cell(day, hour)));
        }),
      ),
    ),
  );
}

function cellLabel(day: number, hour: number, free: boolean): string {
  return w.expert.cell(w.expert.days[day] ?? "", hour, free);
}

function hiddenWord(free: boolean): HTMLElement {
  return h("span", { class: "visually-hidden" }, free ? w.expert.freeCell : w.expert.busyCell);
}

const STEPS: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: HOURS, ArrowUp: -HOURS };

function move(buttons: HTMLButtonElement[], at: number, event: KeyboardEvent): void {
  const next = buttons[at + (STEPS[event.key] ?? Number.NaN)];
  if (!next) return;
  event.preventDefault();
  buttons[at]?.setAttribute("tabindex", "-1");
  next.setAttribute("tabindex", "0");
  next.focus();
}
