import assert from "node:assert/strict";
import { test } from "node:test";
import { classify, type LinkTotals, readTotals, sampleBetween, worse } from "../src/client/quality";

const START: LinkTotals = {
  atMs: 0,
  packetsReceived: 1000,
  packetsLost: 10,
  freezeCount: 1,
  freezeSeconds: 0.5,
  rttMs: 40,
};
const after = (change: Partial<LinkTotals>) =>
  classify(sampleBetween(START, { ...START, atMs: 2000, packetsReceived: 1200, ...change }));

test("an undisturbed connection is good", () => assert.equal(after({}), "good"));
test("some loss is fair", () => assert.equal(after({ packetsLost: 20 }), "fair"));
test("much loss is poor", () => assert.equal(after({ packetsLost: 60 }), "poor"));
test("a slow path is fair, a very slow one poor", () => {
  assert.equal(after({ rttMs: 300 }), "fair");
  assert.equal(after({ rttMs: 900 }), "poor");
});
test("one freeze is fair, a long one poor", () => {
  assert.equal(after({ freezeCount: 2 }), "fair");
  assert.equal(after({ freezeCount: 2, freezeSeconds: 1.5 }), "poor");
});
test("counters that start anew after a new leg count as nothing lost", () => {
  assert.equal(after({ packetsReceived: 5, packetsLost: 0, freezeCount: 0, freezeSeconds: 0 }), "good");
});

test("totals add all inbound streams and take the round trip of the pair in use", () => {
  const totals = readTotals(
    [
      { type: "inbound-rtp", id: "a", packetsReceived: 50, packetsLost: 1 },
      {
        type: "inbound-rtp",
        id: "v",
        packetsReceived: 200,
        packetsLost: 4,
        freezeCount: 2,
        totalFreezesDuration: 1,
      },
      { type: "candidate-pair", id: "old", state: "failed", nominated: false, currentRoundTripTime: 3 },
      { type: "candidate-pair", id: "new", state: "succeeded", nominated: true, currentRoundTripTime: 0.05 },
    ],
    7,
  );
  assert.deepEqual(totals, {
    atMs: 7,
    packetsReceived: 250,
    packetsLost: 5,
    freezeCount: 2,
    freezeSeconds: 1,
    rttMs: 50,
  });
});

test("two views of one connection: the worse counts, and any knowledge before none", () => {
  assert.equal(worse("good", "poor"), "poor");
  assert.equal(worse("fair", "good"), "fair");
  assert.equal(worse("unknown", "good"), "good");
});
