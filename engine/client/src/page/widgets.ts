import type { Mode } from "../client";
import { append, type Child, h, type Props } from "./dom";
import { formatList, formatMoney, formatUnit } from "./format";
import { type IconName, icon } from "./icons";
import { toastError } from "./notices";
import type { Tariff } from "./rest";
import { t } from "./strings";

export interface ButtonOptions extends Props {
  kind?: "primary" | "secondary" | "quiet" | "danger";
  icon?: IconName;
  /** While it runs the button is disabled; what it throws is shown. */
  action?: () => unknown;
}

export function button(label: string, { kind = "secondary", icon: name, action, ...props }: ButtonOptions) {
  const element = h("button", {
    type: "button",
    ...props,
    class: `button ${kind} ${props.class ?? ""}`.trim(),
  });
  append(element, [name ? icon(name) : null, h("span", {}, label)]);
  if (action) element.addEventListener("click", () => void busyWhile(element, action));
  return element;
}

/** Runs an action with its button disabled, shows what it throws. */
export async function busyWhile(element: HTMLButtonElement, action: () => unknown): Promise<void> {
  if (element.getAttribute("aria-busy") === "true") return;
  element.setAttribute("aria-busy", "true");
  try {
    await action();
  } catch (error) {
    toastError(error);
  } finally {
    element.removeAttribute("aria-busy");
  }
}

/** Initials on a quiet colour that stays the same for the same person. */
export function avatar(name: string, id: string, size: "small" | "medium" | "large" = "medium"): HTMLElement {
  const words = name.split(/\s+/).filter((word) => word !== "" && !word.endsWith("."));
  const initials = [words[0], words.length > 1 ? words.at(-1) : ""].map((word) => word?.[0] ?? "").join("");
  const hue = [...id].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 6, 0);
  return h(
    "span",
    { class: `avatar avatar-${size} hue-${hue}`, "aria-hidden": "true" },
    initials.toUpperCase(),
  );
}

/** A term and its value, side by side. */
export function fact(term: string, value: Child, props: Props = {}): HTMLElement {
  return h("div", { class: "fact" }, h("dt", {}, term), h("dd", props, value));
}

const MODE_ICONS: Record<Mode, IconName> = { video: "camera", audio: "phone", text: "chat" };

export function modeIcon(mode: Mode): SVGSVGElement {
  return icon(MODE_ICONS[mode]);
}

/** "€12.00 per 15 min" */
export function priceText(tariff: Tariff): string {
  return t.tariff.price(formatMoney(tariff.price_minor, tariff.currency), formatUnit(tariff.per_seconds));
}

/** "billed by the second, first minute free" */
export function priceNotes(tariff: Tariff): string {
  const notes = [];
  if (tariff.block_seconds !== tariff.per_seconds)
    notes.push(t.tariff.billedBy(formatUnit(tariff.block_seconds)));
  if (tariff.grace_seconds > 0) notes.push(t.tariff.firstFree(tariff.grace_seconds));
  if (tariff.mode === "text") notes.push(t.tariff.textStart);
  return formatList(notes);
}

/** The printable receipt, in a tab of its own. */
export function receiptLink(url: string, label: string): HTMLElement {
  const props = { class: "button secondary", href: webUrl(url), target: "_blank", rel: "noopener" };
  return h("a", { ...props, testid: "receipt-link" }, icon("printer"), h("span", {}, label));
}

/** Only a web address may become a link. */
export function webUrl(url: string | null): string | null {
  return url && /^(https?:\/\/|\/)/.test(url) ? url : null;
}
