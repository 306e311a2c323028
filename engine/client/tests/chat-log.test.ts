import assert from "node:assert/strict";
import { test } from "node:test";
import { ChatLog } from "../src/page/call/chat-log";
import { message } from "./samples";

test("a draft that failed waits as a draft again when it is sent again", () => {
  const log = new ChatLog();
  log.draft("id-1", "one");
  log.draft("id-2", "two");
  log.failed("id-1");
  assert.deepEqual(
    log.drafts.map(({ body, failed }) => [body, failed]),
    [
      ["one", true],
      ["two", false],
    ],
  );
  log.draft("id-1", "one");
  assert.deepEqual(
    log.drafts.map(({ body, failed }) => [body, failed]),
    [
      ["one", false],
      ["two", false],
    ],
  );
});

test("a draft that arrived although it seemed to fail is shown once", () => {
  const log = new ChatLog();
  log.draft("id-1", "one");
  log.failed("id-1");
  assert.ok(log.add({ ...message(1, "cus"), body: "one", client_msg_id: "id-1" }));
  assert.deepEqual(log.drafts, []);
  assert.equal(log.messages.length, 1);
});

test("a message of somebody else leaves the drafts alone", () => {
  const log = new ChatLog();
  log.draft("id-1", "one");
  log.add(message(1));
  assert.equal(log.drafts.length, 1);
});
