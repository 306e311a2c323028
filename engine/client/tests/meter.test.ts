import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_RUN_ON_MS, readMeter } from "../src/client/meter";
import type { MeterView } from "../src/client/wire";

const RUNNING: MeterView = {
  state: "running",
  elapsed_ms: 100_000,
  charged_minor: 1200,
  billed_blocks: 1,
  currency: "EUR",
  block_seconds: 900,
  price_minor: 1200,
  per_seconds: 900,
  seconds_left: 800,
  next_charge_in_ms: 800_000,
  grace_left_ms: null,
  balance_minor: 500,
  earned_minor: null,
  commission_bps: null,
};

/** 3000.00 an hour by the second, 100 seconds of which are charged. */
const BY_SECOND = {
  block_seconds: 1,
  price_minor: 300_000,
  per_seconds: 3_600,
  charged_minor: 8333,
  billed_blocks: 100,
} as const;

const at = (ms: number, change: Partial<MeterView> = {}) =>
  readMeter({ view: { ...RUNNING, ...change }, receivedAtMs: 1_000 }, 1_000 + ms);

test("a running meter runs on between statements", () => {
  const reading = at(2_500);
  assert.equal(reading.elapsedMs, 102_500);
  assert.equal(reading.secondsLeft, 797.5);
  assert.equal(reading.nextChargeInMs, 797_500);
  assert.equal(reading.chargedMinor, 1200);
});

for (const state of ["idle", "armed", "paused", "ended"] as const) {
  test(`a meter that is ${state} stands still`, () => {
    const reading = at(5_000, { state });
    assert.equal(reading.elapsedMs, 100_000);
    assert.equal(reading.secondsLeft, 800);
  });
}

test("T22 the free minute runs down and turns into running time", () => {
  const grace = { state: "grace", elapsed_ms: 58_000, grace_left_ms: 2_000 } as const;
  const first = { ...grace, charged_minor: 0, billed_blocks: 0, next_charge_in_ms: 2_000 };
  assert.equal(at(1_500, first).state, "grace");
  assert.equal(at(1_500, first).graceLeftMs, 500);
  assert.equal(at(1_500, first).chargedMinor, 0);
  assert.equal(at(2_500, first).state, "running");
  assert.equal(at(2_500, first).chargedMinor, 1200);
});

test("every block that falls due in between is shown as charged", () => {
  const perSecond = { ...BY_SECOND, elapsed_ms: 99_600, next_charge_in_ms: 400 };
  assert.equal(at(400, perSecond).chargedMinor, 8333);
  assert.equal(at(401, perSecond).chargedMinor, 8416);
  assert.equal(at(3_401, perSecond).chargedMinor, 8666);
  assert.equal(at(3_401, perSecond).nextChargeInMs, 999);
});

test("what seconds cost never drifts from the engine's sum", () => {
  const cheap = { ...BY_SECOND, price_minor: 1, per_seconds: 3, charged_minor: 33, next_charge_in_ms: 0 };
  assert.equal(at(59_000, cheap).chargedMinor, 53); // floor(159 / 3): a second alone costs nothing
});

test("T27 the expert's earnings grow with the charge, less the commission on the whole", () => {
  const expert = { ...BY_SECOND, balance_minor: null, earned_minor: 7084, commission_bps: 1_500 };
  assert.equal(at(0, expert).earnedMinor, 7084);
  assert.equal(at(10_500, expert).chargedMinor, 9250);
  assert.equal(at(10_500, expert).earnedMinor, 7863);
});

test("a free minute that runs out is charged for all of its blocks", () => {
  const grace = { ...BY_SECOND, state: "grace", elapsed_ms: 58_000, grace_left_ms: 2_000 } as const;
  const free = { ...grace, charged_minor: 0, billed_blocks: 0, next_charge_in_ms: 2_000 };
  assert.equal(at(2_000, free).chargedMinor, 0);
  assert.equal(at(2_001, free).chargedMinor, 5083); // 61 of them
});

test("T32 nothing runs on beyond the customer's money", () => {
  const poor = { seconds_left: 2, next_charge_in_ms: null };
  assert.equal(at(9_000, poor).elapsedMs, 102_000);
  assert.equal(at(9_000, poor).secondsLeft, 0);
});

test("without a statement for long the view stops rather than invents", () => {
  assert.equal(at(3_600_000).elapsedMs, 100_000 + MAX_RUN_ON_MS);
});

test("a clock that steps back does not run the meter back", () => {
  assert.equal(at(-10_000).elapsedMs, 100_000);
});

test("unknown time left stays unknown", () => {
  assert.equal(at(1_000, { seconds_left: null }).secondsLeft, null);
  assert.equal(at(1_000, { seconds_left: null }).elapsedMs, 101_000);
});
