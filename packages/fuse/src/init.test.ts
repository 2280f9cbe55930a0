import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatNegotiated, negotiateInit, parseNegotiated } from "./init.ts";

const OFFER = { major: 7, minor: 41, maxReadaheadBytes: 4096, flags: 2n ** 64n - 1n };

describe("negotiateInit()", () => {
  it("leaves HAS_RESEND out if told so, and nothing else", () => {
    const { flags } = negotiateInit(OFFER);
    assert.ok(flags.includes("HAS_RESEND"));
    const without = negotiateInit(OFFER, "off").flags;
    assert.deepEqual(
      without,
      flags.filter((name) => name !== "HAS_RESEND"),
    );
  });
});

describe("parseNegotiated()", () => {
  const negotiated = negotiateInit(OFFER);

  it("reads what formatNegotiated() wrote, and what was written before there was a number", () => {
    assert.deepEqual(parseNegotiated(JSON.parse(formatNegotiated(negotiated))), negotiated);
    assert.deepEqual(parseNegotiated({ ...negotiated }), negotiated);
  });

  it("refuses a newer format by that name", () => {
    assert.throws(() => parseNegotiated({ format: 2 }), { code: "failed_precondition" });
  });

  it("refuses what is damaged", () => {
    const rows: readonly unknown[] = [
      null,
      7,
      {},
      { ...negotiated, format: "1" },
      { ...negotiated, format: 0 },
      { ...negotiated, minor: 1.5 },
      { ...negotiated, flags: ["NEW"] },
      { ...negotiated, flags: "ASYNC_READ" },
    ];
    for (const row of rows) assert.throws(() => parseNegotiated(row), { code: "data_loss" });
  });
});
