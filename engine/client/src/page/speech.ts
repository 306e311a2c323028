import { h } from "./dom";
import { firstKnown, isLanguage, LANGUAGES, type Language, language } from "./language";
import { t } from "./strings";

export interface Wishes {
  /** By hand, on this browser. */
  chosen: string | null;
  /** Of the account; null: a guest. */
  account: string | null;
  browser: readonly string[];
  /** The languages that the marketplace has texts in, if that is known: an account names one of these. */
  market?: readonly string[] | undefined;
}

/**
 * What was chosen, else the account's language, else the browser's. Where the marketplace has no texts in the
 * browser's language, no account can ask for it: there the browser is believed.
 */
export function preferredLanguage({ chosen, account, browser, market }: Wishes): Language {
  if (chosen && isLanguage(chosen)) return chosen;
  const wanted = firstKnown(browser);
  const expressible = market?.includes(wanted) ?? true;
  return firstKnown(expressible ? [account, ...browser] : browser);
}

/** Tells the browser what the page speaks and where its lines begin. */
export function markDocument(code: Language): void {
  document.documentElement.lang = code;
  document.documentElement.dir = LANGUAGES[code].dir;
}

/** Every language by its own name, so that it is found by whoever cannot read the present one. */
export function languageSwitch(chosen: (code: Language) => void): HTMLElement {
  const option = ([code, { name }]: [string, { name: string }]) =>
    h("option", { value: code, lang: code }, name);
  const options = Object.entries(LANGUAGES).map(option);
  const control = h("select", { "aria-label": t.language, testid: "language" }, ...options);
  control.value = language();
  control.addEventListener("change", () => {
    if (isLanguage(control.value)) chosen(control.value);
  });
  return h("div", { class: "language" }, control);
}

/** After everything was drawn anew, the switch has the focus that it had. */
export function focusSwitch(): void {
  document.querySelector<HTMLElement>(".language select")?.focus();
}
