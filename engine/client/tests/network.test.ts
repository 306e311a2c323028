import assert from "node:assert/strict";
import { test } from "node:test";
import { watchNetwork } from "../src/client/network";

class FakeConnection extends EventTarget {
  type: string | undefined = "wifi";

  turn(type: string | undefined): void {
    this.type = type;
    this.dispatchEvent(new Event("change"));
  }
}

function watched() {
  const page = new EventTarget();
  const connection = new FakeConnection();
  const seen = { changes: 0 };
  const stop = watchNetwork(() => seen.changes++, page, connection);
  return { page, connection, seen, stop };
}

test("coming online is a change", () => {
  const { page, seen } = watched();
  page.dispatchEvent(new Event("online"));
  assert.equal(seen.changes, 1);
});

test("another kind of network is a change, another estimate of its speed is not", () => {
  const { connection, seen } = watched();
  connection.turn("wifi");
  assert.equal(seen.changes, 0);
  connection.turn("cellular");
  connection.turn("cellular");
  assert.equal(seen.changes, 1);
});

test("losing every network is no reason to try", () => {
  const { connection, seen } = watched();
  connection.turn("none");
  assert.equal(seen.changes, 0);
  connection.turn("wifi");
  assert.equal(seen.changes, 1);
});

test("a device that does not tell its network is watched for coming online only", () => {
  const page = new EventTarget();
  let changes = 0;
  watchNetwork(() => changes++, page, undefined);
  page.dispatchEvent(new Event("online"));
  assert.equal(changes, 1);
});

test("nothing is watched once it was stopped", () => {
  const { page, connection, seen, stop } = watched();
  stop();
  page.dispatchEvent(new Event("online"));
  connection.turn("cellular");
  assert.equal(seen.changes, 0);
});
