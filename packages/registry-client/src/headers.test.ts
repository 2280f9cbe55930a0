import assert from "node:assert/strict";
import { test } from "node:test";
import {
  mediaTypeHeader,
  nextLink,
  numberHeader,
  parseContentRange,
  parseRetryAfter,
  parseUploadRange,
} from "./headers.ts";

test("parseContentRange() reads what RFC 9110 allows for one range", () => {
  assert.deepEqual(parseContentRange("bytes 0-9/100"), { start: 0, end: 10, size: 100 });
  assert.deepEqual(parseContentRange("Bytes 5-5/*"), { start: 5, end: 6, size: undefined });
});

for (const text of [
  undefined,
  "",
  "bytes */100",
  "bytes 9-0/100",
  "bytes 0-100/100",
  "items 0-9/100",
  "bytes 0-9",
  "bytes 0-9/1e3",
  `bytes 0-${"9".repeat(17)}/*`,
  "bytes=0-9/100",
]) {
  test(`parseContentRange() refuses ${text?.slice(0, 20)}`, () =>
    assert.equal(parseContentRange(text), undefined));
}

test("parseUploadRange() gives how many bytes an upload holds", () => {
  const cases = [
    [undefined, 0],
    ["0-0", 0],
    ["0-9", 10],
    ["bytes=0-9", 10],
    ["1-9", undefined],
    ["x", undefined],
  ] as const;
  for (const [text, want] of cases) assert.equal(parseUploadRange(text), want, text);
});

test("numberHeader() takes whole numbers only", () => {
  const cases = [
    ["12", 12],
    ["-1", undefined],
    ["1.5", undefined],
    ["", undefined],
    ["9".repeat(16), undefined],
    ["12, 12", undefined],
  ] as const;
  for (const [text, want] of cases) assert.equal(numberHeader({ x: text }, "x"), want, text);
});

test("mediaTypeHeader() drops parameters", () => {
  assert.equal(
    mediaTypeHeader({ "content-type": "Application/JSON; charset=utf-8" }),
    "application/json",
  );
  assert.equal(mediaTypeHeader({ "content-type": "" }), undefined);
});

const LINKS: readonly [text: string, want: string | undefined][] = [
  ['</v2/x?n=2>; rel="next"', "/v2/x?n=2"],
  ["<https://r.example/v2/x>; rel=next", "https://r.example/v2/x"],
  ['</a>; rel="prev", </b>; rel="next"', "/b"],
  ['</a>; title="x"; rel="prefetch next"', "/a"],
  ['</a>; rel="nextish"', undefined],
  ["</a>", undefined],
  ["</a", undefined],
  [`<${"a".repeat(9000)}>; rel="next"`, undefined],
];

for (const [text, want] of LINKS) {
  test(`nextLink() reads ${text.slice(0, 40)}`, () => assert.equal(nextLink(text), want));
}

test("nextLink() is quick on hostile text", () => {
  const started = performance.now();
  for (const text of [
    "<>;rel=".repeat(1100),
    "<".repeat(8000),
    `<a>;rel="${" ".repeat(8000)}`,
    `<a>${"; rel".repeat(1300)}`,
  ])
    nextLink(text);
  assert.ok(performance.now() - started < 500);
});

test("parseRetryAfter() reads seconds and dates", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  assert.equal(parseRetryAfter("3", now), 3000);
  assert.equal(parseRetryAfter("Thu, 01 Jan 2026 00:00:05 GMT", now), 5000);
  assert.equal(parseRetryAfter("Wed, 31 Dec 2025 00:00:00 GMT", now), 0);
  for (const text of [undefined, "soon", "-1", "1".repeat(200)])
    assert.equal(parseRetryAfter(text, now), undefined);
});
