import assert from "node:assert/strict";
import { test } from "node:test";
import { applyEvent } from "../src/client/state";
import { ChatLog } from "../src/page/call/chat-log";
import { phaseOf } from "../src/page/call/phase";
import { message, snapshot } from "./samples";

test("tracks and participants change their party only", () => {
  const next = applyEvent(snapshot(), "track.published", { role: "expert", kind: "video" });
  assert.equal(next.expert.video, true);
  assert.equal(next.customer.video, false);
  assert.equal(applyEvent(next, "participant.left", { role: "expert" }).expert.connected, false);
});

test("a recording is told in the snapshot", () => {
  const event = { state: "recording", by: "expert", reason: null };
  const next = applyEvent(
    snapshot({ recording: { possible: true, state: "requested", by: "customer", reason: null } }),
    "recording.updated",
    event,
  );
  assert.deepEqual(next.recording, { possible: true, ...event });
});

test("an answer leads from ringing to connecting, but never back", () => {
  assert.equal(applyEvent(snapshot(), "call.accepted", { reason: null }).state, "connecting");
  const running = snapshot({ state: "in_progress" });
  assert.equal(applyEvent(running, "call.accepted", { reason: null }).state, "in_progress");
});

for (const reason of ["declined", "canceled", "no_answer"] as const) {
  test(`a call that was ${reason} ends without a charge`, () => {
    const next = applyEvent(snapshot(), `call.${reason}`, {});
    assert.equal(next.state, "ended");
    assert.equal(next.summary?.reason, reason);
    assert.equal(next.summary?.total_minor, 0);
  });
}

test("events that concern nothing of the snapshot leave it as it is", () => {
  const before = snapshot();
  assert.equal(applyEvent(before, "meter.tick", {}), before);
});

test("T20 T48 what each party sees while the session goes on", () => {
  assert.equal(phaseOf(snapshot()), "waiting");
  assert.equal(phaseOf(snapshot({ state: "connecting" })), "connecting");
  assert.equal(phaseOf(snapshot({ state: "connecting", role: "expert" })), "ready");
  assert.equal(phaseOf(snapshot({ state: "connecting", role: "expert", mode: "text" })), "live");
  assert.equal(phaseOf(snapshot({ mode: "text" })), "waiting");
  assert.equal(phaseOf(snapshot({ state: "in_progress" })), "live");
  assert.equal(phaseOf(snapshot({ state: "ended" })), "ended");
});

test("a chat shows each message once, in order, and drafts until they are sent", () => {
  const log = new ChatLog();
  assert.equal(log.add(message(2)), true);
  assert.equal(log.add(message(1)), true);
  assert.equal(log.add(message(2)), false);
  log.draft("k", "hello");
  log.draft("x", "lost");
  log.failed("x");
  log.sent("k", message(3, "me"));
  assert.deepEqual(
    log.messages.map(({ seq }) => seq),
    [1, 2, 3],
  );
  assert.deepEqual(
    log.drafts.map(({ body, failed }) => [body, failed]),
    [["lost", true]],
  );
  assert.equal(log.unreadAfter(1, "me"), 1);
});
