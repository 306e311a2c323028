import assert from "node:assert/strict";
import { test } from "node:test";
import {
  formatBitrate,
  formatClock,
  formatDuration,
  formatMoney,
  formatUnit,
  moneyInput,
  parseMoney,
} from "../src/page/format";

test("money is shown from minor units, with the digits of its currency", () => {
  assert.equal(formatMoney(1200, "EUR"), "€12.00");
  assert.equal(formatMoney(-5, "EUR"), "-€0.05");
  assert.match(formatMoney(1200, "JPY"), /1,200$/);
});

test("typed money becomes minor units", () => {
  assert.equal(parseMoney("12", "EUR"), 1200);
  assert.equal(parseMoney(" 12,5 ", "EUR"), 1250);
  assert.equal(parseMoney("0.05", "EUR"), 5);
  assert.equal(parseMoney("1 200.00", "EUR"), 120_000);
  assert.equal(parseMoney("300", "JPY"), 300);
});

for (const text of ["", "0", "0.00", "-1", "1e3", "1.234", "12.", "abc", "1.2.3", "99999999999"]) {
  test(`"${text}" is no amount`, () => assert.equal(parseMoney(text, "EUR"), null));
}

test("what is put into the field reads back as the same amount", () => {
  for (const minor of [1, 10, 250, 1999, 123_456]) {
    assert.equal(parseMoney(moneyInput(minor, "EUR"), "EUR"), minor);
    assert.equal(parseMoney(moneyInput(minor, "JPY"), "JPY"), minor);
  }
});

test("clocks, durations and units", () => {
  assert.equal(formatClock(42.9), "0:42");
  assert.equal(formatClock(3723), "1:02:03");
  assert.equal(formatClock(-1), "0:00");
  assert.equal(formatDuration(45), "45 s");
  assert.equal(formatDuration(845), "14 min 5 s");
  assert.equal(formatDuration(3720), "1 h 2 min");
  assert.equal(formatUnit(900), "15 min");
  assert.equal(formatUnit(3600), "hour");
  assert.equal(formatUnit(1), "second");
});

test("bitrates read as people write them", () => {
  assert.equal(formatBitrate(48_400), "48 kbit/s");
  assert.equal(formatBitrate(999_999), "1000 kbit/s");
  assert.equal(formatBitrate(1_250_000), "1.3 Mbit/s");
});
