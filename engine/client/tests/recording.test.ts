import assert from "node:assert/strict";
import { test } from "node:test";
import type { RecordingView, Role } from "../src/client/wire";
import { failedText, recordingNews } from "../src/page/call/recording-words";
import { t } from "../src/page/strings";

const view = (state: RecordingView["state"], by: Role | null, reason: string | null = null) => ({
  possible: true,
  state,
  by,
  reason,
});
const toldTo = (role: Role, change: RecordingView) => recordingNews(change, role, "Ada");

test("each party hears in its own words what the other one or itself decided", () => {
  const cases: [RecordingView, RegExp, RegExp][] = [
    [view("off", "expert", "declined"), /^Ada does not want/, /^You did not agree/],
    [view("off", "expert", "withdrawn"), /^Ada no longer asks/, /^You no longer ask/],
    [view("stopped", "expert"), /^Ada stopped the recording/, /^You stopped the recording/],
  ];
  for (const [change, other, own] of cases) {
    const [customer, expert] = [toldTo("customer", change), toldTo("expert", change)];
    assert.match(customer?.text ?? "", other);
    assert.match(expert?.text ?? "", own);
    assert.deepEqual([customer?.own, expert?.own], [false, true]);
  }
});

test("who was asked is asked by name, who asked hears nothing new", () => {
  assert.match(toldTo("expert", view("requested", "customer"))?.text ?? "", /^Ada asks/);
  assert.equal(toldTo("customer", view("requested", "customer")), null);
});

test("both hear that it is recorded", () => {
  for (const role of ["customer", "expert"] as const)
    assert.match(toldTo(role, view("recording", "expert"))?.text ?? "", /being recorded/);
});

test("both hear why it did not begin or ended by itself, in words of its own for each reason", () => {
  const reasons = ["unavailable", "disk_full", "too_long", "too_slow", "interrupted", "failed"];
  const texts = reasons.map((reason) => toldTo("expert", view("failed", null, reason))?.text ?? "");
  assert.equal(new Set(texts).size, reasons.length);
  assert.match(texts[0] ?? "", /could not begin/);
  assert.match(texts[1] ?? "", /no space/);
  for (const text of texts) assert.doesNotMatch(text, /_|undefined/);
  assert.equal(toldTo("customer", view("failed", null, "disk_full"))?.own, false);
});

test("a reason that a newer engine knows is still told", () => {
  assert.equal(failedText("toString"), t.recording.reasons.failed);
  assert.equal(failedText(null), t.recording.reasons.failed);
});

test("what ends with the call is told by the end of the call", () => {
  assert.equal(toldTo("customer", view("stopped", null, "ended")), null);
});
