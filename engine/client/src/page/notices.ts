import { asTalktimeError } from "../client/errors";
import { h } from "./dom";
import { t, wordFor } from "./strings";

const TOAST_MS = 6_000;
const OPEN_DIALOG = "dialog[open]";

/** Where screen readers hear news. A modal dialog needs its own: all that is outside of it is inert. */
export function liveRegions(): HTMLElement[] {
  return [
    h("div", { class: "visually-hidden", role: "status", "aria-live": "polite", "data-live": "polite" }),
    h("div", { class: "visually-hidden", role: "alert", "aria-live": "assertive", "data-live": "assertive" }),
  ];
}

/** Tells screen readers: politely, or at once when it can't wait. */
export function announce(text: string, urgent = false): void {
  const regions = `[data-live="${urgent ? "assertive" : "polite"}"]`;
  for (const region of document.querySelectorAll(regions)) region.textContent = "";
  // A change after the region was emptied is read again even if the words are the same. Which region it is
  // shows only then: the dialog whose button led here may be closing.
  setTimeout(() => {
    const region = topmost().querySelector(regions);
    if (region) region.textContent = text;
  }, 50);
}

/** A short message at the edge of the page, read out as well; it takes the place of the one before. */
export function toast(text: string, kind: "info" | "error" = "info"): void {
  const box = h("div", { class: `toast toast-${kind}`, testid: "toast" }, text);
  clearToasts();
  toastArea(topmost()).append(box);
  announce(text, kind === "error");
  setTimeout(() => box.remove(), TOAST_MS);
}

/** What was said on one page has no place on the next. */
export function clearToasts(): void {
  for (const box of document.querySelectorAll(".toast")) box.remove();
}

/** A dialog that closes leaves what it said to the page. */
export function keepToasts(dialog: HTMLElement): void {
  const boxes = dialog.querySelectorAll(".toast");
  if (boxes.length > 0) toastArea(topmost()).append(...boxes);
}

export function toastError(error: unknown): void {
  toast(errorText(error), "error");
}

/** What went wrong, in words for people. */
export function errorText(error: unknown): string {
  const { code, message } = asTalktimeError(error);
  return wordFor(t.errors, code) ?? message;
}

function topmost(): Element {
  return [...document.querySelectorAll(OPEN_DIALOG)].at(-1) ?? document.body;
}

function toastArea(host: Element): HTMLElement {
  const existing = host.querySelector<HTMLElement>(":scope > .toasts");
  if (existing) return existing;
  const area = h("section", { class: "toasts", "aria-label": t.notices });
  host.append(area);
  return area;
}
