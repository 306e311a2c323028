import { type Language, setLanguage } from "./language";
import { type CallWords, en as callEn } from "./words/call-en";
import { en, type SharedWords } from "./words/en";
import { fa } from "./words/fa";
import { tr } from "./words/tr";

const TABLES: Record<Language, SharedWords> = { en, tr, fa };

/** What the page says in the language that is spoken now; `speak` puts another table in its place. */
export let t: SharedWords & CallWords = { ...callEn, ...en };

/**
 * Words and formats of `code` from now on; what is drawn already stays as it is. `call`: what only the call page
 * says, in that language; other pages do without these tables.
 */
export function speak(code: Language, call: CallWords = callEn): void {
  setLanguage(code);
  t = { ...call, ...TABLES[code] };
}

type Table = Readonly<Record<string, string>>;

/** A word by a key that the server named, if there is one. */
export function wordFor(table: Table, key: string): string | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

/** The same; a key that is new to us is shown as it is. */
export function word(table: Table, key: string): string {
  return wordFor(table, key) ?? key;
}
