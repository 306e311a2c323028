import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import {
  formatDateTime,
  formatDuration,
  formatMoney,
  formatSize,
  formatUnit,
  languageNames,
  moneyInput,
  parseCount,
  parseMoney,
  weekdays,
} from "../src/page/format";
import { LANGUAGES, type Language } from "../src/page/language";
import { preferredLanguage } from "../src/page/speech";
import { speak, t, word, wordFor } from "../src/page/strings";
import { en } from "../src/page/words/call-en";
import { fa } from "../src/page/words/call-fa";
import { tr } from "../src/page/words/call-tr";
import { speakStore, w } from "../src/store/words";

const PERSIAN = /[\u0600-\u06ff]/;
/** The same wherever one says them: names, and what has no letters. */
const UNIVERSAL = /^(IBAN|Talktime|[^\p{L}]*)$/u;
const CALL = { en, tr, fa };

function say(code: Language): void {
  speak(code, CALL[code]);
  speakStore(code);
}

afterEach(() => say("en"));

/** Every sentence with its place; sentences with gaps are filled with twos. */
function* sentences(table: object, place = ""): Generator<[place: string, text: string]> {
  for (const [key, value] of Object.entries(table)) {
    const here = `${place}.${key}`;
    if (typeof value === "object") yield* sentences(value, here);
    else if (typeof value === "function") yield [here, value(...Array(value.length).fill("2"))];
    else yield [here, value];
  }
}

function everything(): Map<string, string> {
  return new Map(sentences({ t, w }));
}

test("every sentence is said in every language, in its own words", () => {
  say("en");
  const english = everything();
  for (const code of ["tr", "fa"] as const) {
    say(code);
    const translated = everything();
    assert.deepEqual([...translated.keys()].sort(), [...english.keys()].sort());
    const same = [...translated].filter(
      ([place, text]) => text === english.get(place) && !UNIVERSAL.test(text),
    );
    assert.deepEqual(same, [], code);
    for (const [place, text] of translated) assert.ok(text.trim(), `${code}${place}`);
  }
  const foreign = [...everything()].filter(([, text]) => !PERSIAN.test(text) && !UNIVERSAL.test(text));
  assert.deepEqual(foreign, []);
});

test("money, durations and dates are written as the language writes them", () => {
  say("fa");
  assert.match(formatMoney(123_450, "EUR"), /۱٬۲۳۴٫۵۰/);
  assert.equal(formatDuration(845), "۱۴ دقیقه ۵ ثانیه");
  assert.equal(formatUnit(900), "۱۵ دقیقه");
  assert.match(formatDateTime("2026-11-29T12:00:00Z"), /۱۴۰۵/);
  assert.match(formatSize(12_000), /۱۲/);
  assert.match(languageNames(["en", "fa"]), /^انگلیسی،.*فارسی$/);
  assert.equal(weekdays("long")[0], "دوشنبه");
  say("tr");
  assert.equal(formatMoney(123_450, "EUR"), "€1.234,50");
  assert.equal(t.tariff.price("€3,00", formatUnit(3600)), "saat başına €3,00");
  assert.equal(weekdays("long")[6], "Pazar");
  say("en");
  assert.equal(formatMoney(123_450, "EUR"), "€1,234.50");
  assert.deepEqual([900, 12_400, 1_430_000].map(formatSize), ["900 byte", "12 kB", "1.4 MB"]);
});

test("amounts and counts are understood in whichever digits they are typed", () => {
  assert.equal(parseMoney("۱۲٫۵", "EUR"), 1250);
  assert.equal(parseMoney("١٢٫٥٠", "EUR"), 1250);
  assert.equal(parseCount("۱۴"), 14);
  assert.equal(parseCount(" 5 "), 5);
  for (const text of ["", "1.5", "-1", "x", "1e3"]) assert.ok(Number.isNaN(parseCount(text)), text);
  say("fa");
  for (const minor of [5, 1999]) assert.equal(parseMoney(moneyInput(minor, "EUR"), "EUR"), minor);
});

test("words by keys of the server: unknown ones are shown as they are, inherited ones are unknown", () => {
  assert.equal(word({ open: "Open" }, "open"), "Open");
  assert.equal(word({ open: "Open" }, "toString"), "toString");
  assert.equal(wordFor({ open: "Open" }, "constructor"), undefined);
});

const market = ["en", "fa"];
const cases: [name: string, wishes: Parameters<typeof preferredLanguage>[0], code: Language][] = [
  ["what was chosen", { chosen: "tr", account: "fa", browser: ["fa"], market }, "tr"],
  ["the account", { chosen: null, account: "fa", browser: ["en-US"], market }, "fa"],
  ["the browser of a guest", { chosen: null, account: null, browser: ["fa-IR", "en"], market }, "fa"],
  [
    "a browser whose language no account can name",
    { chosen: null, account: "en", browser: ["tr"], market },
    "tr",
  ],
  [
    "the first language that we speak",
    { chosen: null, account: null, browser: ["de", "tr-TR"], market },
    "tr",
  ],
  ["English where nothing is known", { chosen: "xx", account: null, browser: ["de"], market: [] }, "en"],
  [
    "the browser, where we do not speak the account's",
    { chosen: null, account: "ru", browser: ["en"], market },
    "en",
  ],
];
for (const [name, wishes, code] of cases) {
  test(`the language is that of ${name}`, () => assert.equal(preferredLanguage(wishes), code));
}

test("only Persian is written from right to left", () => {
  const directions = Object.entries(LANGUAGES).map(([code, { dir }]) => [code, dir]);
  assert.deepEqual(directions, [
    ["en", "ltr"],
    ["tr", "ltr"],
    ["fa", "rtl"],
  ]);
});
