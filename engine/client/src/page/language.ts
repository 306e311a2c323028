/** Languages, and which of them the page speaks now. */

interface LanguageEntry {
  /** As its speakers write it. */
  name: string;
  dir: "ltr" | "rtl";
  /** How dates, numbers and money are written. */
  formats: string;
}

export const LANGUAGES = {
  en: { name: "English", dir: "ltr", formats: "en-GB" },
  tr: { name: "Türkçe", dir: "ltr", formats: "tr" },
  fa: { name: "فارسی", dir: "rtl", formats: "fa" },
} as const satisfies Record<string, LanguageEntry>;

export type Language = keyof typeof LANGUAGES;

let spoken: Language = "en";

export function language(): Language {
  return spoken;
}

export function isRightToLeft(): boolean {
  return LANGUAGES[spoken].dir === "rtl";
}

/** The locale of `Intl` for what is shown. */
export function formats(): string {
  return LANGUAGES[spoken].formats;
}

/** Formats follow at once; the words are those of `speak` (strings.ts). */
export function setLanguage(code: Language): void {
  spoken = code;
}

/** The first of the tags, such as `fa-IR`, that is a language of ours. */
export function firstKnown(tags: readonly (string | null | undefined)[]): Language {
  const codes = tags.map((tag) => tag?.toLowerCase().split("-")[0] ?? "");
  return codes.find(isLanguage) ?? "en";
}

export function isLanguage(code: string): code is Language {
  return Object.hasOwn(LANGUAGES, code);
}

export function formatNumber(value: number, options: Intl.NumberFormatOptions = {}): string {
  return new Intl.NumberFormat(formats(), options).format(value);
}
