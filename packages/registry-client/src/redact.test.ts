import assert from "node:assert/strict";
import { test } from "node:test";
import { Redactor, shownUrl } from "./redact.ts";

test("Redactor takes known secrets out, also as they stand in a query", () => {
  const redactor = new Redactor();
  redactor.add("p@ss/word");
  assert.equal(redactor.scrub("got p@ss/word and p%40ss%2Fword", 100), "got [secret] and [secret]");
});

test("Redactor takes out what looks like credentials", () => {
  const redactor = new Redactor();
  assert.equal(
    redactor.scrub("Authorization: Bearer abc.def-123 Basic dTpw", 100),
    "Authorization: Bearer [secret] Basic [secret]",
  );
  assert.equal(
    redactor.scrub("see https://u:p@h.example/x?sig=1&y=2 now", 100),
    "see https://h.example/x?[query] now",
  );
});

test("Redactor cuts and flattens text", () => {
  const redactor = new Redactor();
  assert.equal(redactor.scrub("a\u001b[31m\nb", 100), "a [31m b");
  assert.equal(redactor.scrub("x".repeat(50), 10), `${"x".repeat(10)}…`);
});

test("Redactor forgets the oldest secrets and leaves very short ones", () => {
  const redactor = new Redactor();
  redactor.add("a");
  for (let k = 0; k < 2000; k++) redactor.add(`secret-${k}-`);
  assert.equal(redactor.scrub("a secret-1999- secret-0-", 100), "a [secret] secret-0-");
});

test("shownUrl() leaves out userinfo, query and fragment", () => {
  assert.equal(
    shownUrl(new URL("https://u:p@h.example:8443/a/b?sig=x#y")),
    "https://h.example:8443/a/b",
  );
});
