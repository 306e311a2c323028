import assert from "node:assert/strict";
import { test } from "node:test";
import { query } from "../src/store/api";
import { pageOf, pageOfUrl } from "../src/store/links";
import type { Transaction } from "../src/store/rest";
import { balancesAfter, lineText } from "../src/store/statement";

test("a query leaves out what is absent or empty, and quotes the rest", () => {
  assert.equal(query({}), "");
  assert.equal(query({ q: "", cursor: null, locale: undefined }), "");
  assert.equal(
    query({ q: "a & b", online: true, price_min: 0, limit: 24 }),
    "?q=a+%26+b&online=true&price_min=0&limit=24",
  );
});

test("links of mails and notifications lead to pages of the storefront", () => {
  assert.equal(pageOf("/store"), null);
  assert.equal(pageOf("/"), null);
  assert.equal(pageOf("/orders/ord_1"), "#/order/ord_1");
  assert.equal(pageOf("/verify-email"), "#/verify-email");
  assert.equal(pageOf("/notifications"), "#/notifications");
  assert.equal(pageOfUrl("https://shop.test/cases/cas_1"), "#/case/cas_1");
  assert.equal(pageOfUrl("https://shop.test/"), "#/");
  assert.equal(pageOfUrl("javascript:alert(1)"), "#/alert(1)");
  assert.equal(pageOfUrl("nowhere"), "#/notifications");
});

test("each line of a statement says what it left, and the oldest began with nothing", () => {
  const amounts = [-400, 2_000, -1_600, 5_000];
  assert.deepEqual(balancesAfter(5_000, amounts), [5_000, 5_400, 3_400, 5_000]);
  const after = balancesAfter(5_000, amounts);
  assert.equal((after.at(-1) ?? 0) - (amounts.at(-1) ?? 0), 0);
  assert.deepEqual(balancesAfter(0, []), []);
});

const line: Transaction = {
  id: "trf_1",
  kind: "capture",
  account: "wallet",
  text: "as the server says it",
  amount: { amount: -400, currency: "EUR" },
  order_id: "ord_1",
  order_number: "1001",
  order_title: "Phrases",
  session_id: null,
  at: "2026-11-29T12:00:00Z",
};

test("a line of the statement says what it was for", () => {
  assert.equal(lineText(line), "Paid: Phrases, order 1001");
  assert.equal(lineText({ ...line, session_id: "ses_1" }), "Session: Phrases, order 1001");
  assert.equal(lineText({ ...line, account: "earnings" }), "Earned: Phrases, order 1001");
  assert.equal(lineText({ ...line, kind: "reverse" }), "Given back: Phrases, order 1001");
  assert.equal(lineText({ ...line, kind: "topup" }), "Top-up");
  assert.equal(lineText({ ...line, kind: "new to us" }), "as the server says it");
});
