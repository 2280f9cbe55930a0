import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { GarbageDocument } from "../documents.ts";
import { gcReport } from "./gc.ts";

const NOTHING: GarbageDocument = {
  layers: { count: 0, sizeBytes: 0 },
  orphans: { count: 0, sizeBytes: 0 },
  temporaries: { count: 0, sizeBytes: 0 },
  records: 0,
  evicted: { layers: 0, chunks: 0, sizeBytes: 0 },
  notes: [],
};

describe("gcReport()", () => {
  it("says what was freed, by kind and in all", () => {
    const document: GarbageDocument = {
      layers: { count: 2, sizeBytes: 3e6 },
      orphans: { count: 1, sizeBytes: 1e6 },
      temporaries: { count: 4, sizeBytes: 5e5 },
      records: 7,
      evicted: { layers: 1, chunks: 20, sizeBytes: 2e6 },
      notes: ["caches of no layer were left alone"],
    };
    const { json, text } = gcReport(document);
    assert.equal(json, document);
    assert.match(text, /no snapshot needs +2, 3\.0 MB/);
    assert.match(text, /evicted +2\.0 MB: 1 whole layers, 20 chunks of others/);
    assert.match(text, /in all +6\.5 MB/);
    assert.match(text, /note: caches of no layer were left alone/);
  });

  it("says so if there was nothing to do, or the layer server did not answer", () => {
    const { text } = gcReport(NOTHING);
    assert.equal(text.match(/none/g)?.length, 5);
    assert.match(text, /in all +0 B/);
    const { evicted: _, ...rest } = NOTHING;
    assert.match(gcReport(rest).text, /did not answer/);
  });
});
