import { h } from "../page/dom";
import { firstKnown, isLanguage, LANGUAGES, type Language, language } from "../page/language";
import { speak } from "../page/strings";
import { select } from "./parts";
import { speakStore, w } from "./words";

export interface Wishes {
  /** By hand, on this browser. */
  chosen: string | null;
  /** Of the account; null: a guest. */
  account: string | null;
  browser: readonly string[];
  /** The languages that the marketplace has texts in: an account names one of these. */
  market: readonly string[];
}

/**
 * What was chosen, else the account's language, else the browser's. Where the marketplace has no texts in the
 * browser's language, no account can ask for it: there the browser is believed.
 */
export function preferredLanguage({ chosen, account, browser, market }: Wishes): Language {
  if (chosen && isLanguage(chosen)) return chosen;
  const wanted = firstKnown(browser);
  const expressible = market.includes(wanted);
  return firstKnown(expressible ? [account, ...browser] : browser);
}

/** Words, formats and direction of the page; what is drawn already stays as it is. */
export function adoptLanguage(code: Language): void {
  speak(code);
  speakStore(code);
  document.documentElement.lang = code;
  document.documentElement.dir = LANGUAGES[code].dir;
}

/** Every language by its own name, so that it is found by whoever cannot read the present one. */
export function languageSwitch(chosen: (code: Language) => void): HTMLElement {
  const names = Object.entries(LANGUAGES).map(([code, { name }]) => [code, name] as const);
  const control = select(names, language(), { "aria-label": w.language, testid: "language" });
  for (const option of control.options) option.lang = option.value;
  control.addEventListener("change", () => {
    if (isLanguage(control.value)) chosen(control.value);
  });
  return h("div", { class: "language" }, control);
}
