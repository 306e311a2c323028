import { append, type Child, h } from "./dom";
import { icon } from "./icons";
import { keepToasts, liveRegions } from "./notices";
import { t } from "./strings";

export interface DialogHandle {
  element: HTMLDialogElement;
  body: HTMLElement;
  close: () => void;
  /** Resolves when the dialog is gone, whatever closed it. */
  closed: Promise<void>;
}

let count = 0;

/** A modal dialog: Escape and the cross close it, Tab stays in it, and focus returns to where it was. */
export function openDialog(title: string, testid: string, ...content: Child[]): DialogHandle {
  const opener = document.activeElement;
  const titleId = `dialog-title-${++count}`;
  const cross = h("button", { type: "button", class: "icon-button", "aria-label": t.close }, icon("close"));
  const body = h("div", { class: "dialog-body" });
  append(body, content);
  const element = h(
    "dialog",
    { class: "dialog", testid, "aria-labelledby": titleId },
    h("header", { class: "dialog-head" }, h("h2", { id: titleId }, title), cross),
    body,
    ...liveRegions(),
  );
  document.body.append(element);
  const closed = new Promise<void>((resolve) => {
    element.addEventListener("close", () => {
      keepToasts(element);
      element.remove();
      giveBack(opener);
      resolve();
    });
  });
  cross.addEventListener("click", () => element.close());
  element.addEventListener("keydown", (event) => wrapTab(element, event));
  element.showModal();
  element.querySelector<HTMLElement>("[data-autofocus]")?.focus();
  return { element, body, close: () => element.close(), closed };
}

/** Focus goes back to where it was; if that is gone from view, to the page that is there now. */
function giveBack(opener: Element | null): void {
  if (!(opener instanceof HTMLElement) || opener === document.body) return;
  if (opener.isConnected) opener.focus();
  if (document.activeElement !== document.body) return;
  const main = document.querySelector<HTMLElement>("main");
  main?.setAttribute("tabindex", "-1");
  main?.focus();
}

const FOCUSABLE = "button, a[href], input, textarea, select, [tabindex='0']";

/** From the last control Tab leads to the first, and back: not out into the browser's own controls. */
function wrapTab(dialog: HTMLDialogElement, event: KeyboardEvent): void {
  if (event.key !== "Tab") return;
  const all = [...dialog.querySelectorAll<HTMLElement>(FOCUSABLE)];
  const reachable = all.filter((element) => element.checkVisibility() && !element.matches(":disabled"));
  const at = reachable.indexOf(document.activeElement as HTMLElement);
  const leaves = event.shiftKey ? at <= 0 : at === reachable.length - 1;
  if (!leaves) return;
  event.preventDefault();
  reachable.at(event.shiftKey ? -1 : 0)?.focus();
}
