import assert from "node:assert/strict";
import { test } from "node:test";
import { query } from "../src/store/api";

test("a query leaves out what is absent or empty, and quotes the rest", () => {
  assert.equal(query({}), "");
  assert.equal(query({ q: "", cursor: null, locale: undefined }), "");
  assert.equal(
    query({ q: "a & b", online: true, price_min: 0, limit: 24 }),
    "?q=a+%26+b&online=true&price_min=0&limit=24",
  );
});
