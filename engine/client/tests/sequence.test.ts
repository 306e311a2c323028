import assert from "node:assert/strict";
import { test } from "node:test";
import { SequenceTracker } from "../src/client/sequence";

function joined(lastSeq: number): SequenceTracker {
  const tracker = new SequenceTracker();
  tracker.joined(0, lastSeq);
  return tracker;
}

test("events in order are fresh, seen ones are duplicates", () => {
  const tracker = joined(0);
  assert.equal(tracker.take("meter.tick", 1), "fresh");
  assert.equal(tracker.take("meter.tick", 2), "fresh");
  assert.equal(tracker.take("meter.tick", 2), "duplicate");
  assert.equal(tracker.take("meter.tick", 1), "duplicate");
  assert.equal(tracker.last, 2);
});

test("what the snapshot already contains is only replayed", () => {
  const tracker = joined(3);
  assert.equal(tracker.take("session.updated", 1), "replayed");
  assert.equal(tracker.take("message.created", 3), "replayed");
  assert.equal(tracker.take("message.created", 4), "fresh");
});

test("events that are never replayed leave no gap in a replay", () => {
  const tracker = joined(5);
  assert.equal(tracker.take("session.updated", 1), "replayed");
  assert.equal(tracker.take("session.updated", 5), "replayed");
  assert.equal(tracker.take("rtc.offer", 6), "fresh");
});

test("a device's own version of an event is applied whether it comes first or last", () => {
  const tracker = joined(0);
  assert.equal(tracker.take("rtc.offer", 1), "fresh");
  assert.equal(tracker.take("session.updated", 1), "duplicate");
  assert.equal(tracker.take("session.updated", 2), "fresh");
  assert.equal(tracker.take("rtc.offer", 2), "fresh");
});

test("a missing event shows as a gap, once", () => {
  const tracker = joined(0);
  tracker.take("meter.tick", 1);
  assert.equal(tracker.take("meter.tick", 3), "gap");
  assert.equal(tracker.take("meter.tick", 4), "fresh");
});

test("the first event after a join may follow the snapshot directly", () => {
  assert.equal(joined(41).take("rtc.offer", 42), "fresh");
});

test("an engine that starts counting anew is followed", () => {
  const tracker = joined(0);
  for (const seq of [1, 2, 3]) tracker.take("meter.tick", seq);
  tracker.joined(3, 1);
  assert.equal(tracker.take("meter.tick", 2), "fresh");
});
