import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ExplainDocument, ExplainLayer } from "../documents.ts";
import { LINE_WIDTH } from "../output.ts";
import { adviceFor, explainReport } from "./explain.ts";

const LAZY: ExplainLayer = {
  layerDigest: `sha256:${"b".repeat(64)}`,
  layer: 1,
  state: "lazy",
  sizeBytes: 65e6,
  presentBytes: 5e6,
  uncompressedBytes: 150e6,
  fetchedBytes: 2e6,
  requests: 4,
  indexDigest: `sha256:${"e".repeat(64)}`,
  indexOrigin: "referrers",
  steps: [{ tried: "index", worked: true, why: "its ztoc was fetched and verified" }],
  mounted: true,
  hosts: ["mirror.example"],
  failures: [],
};
const DOCUMENT: ExplainDocument = {
  subject: "registry.example/app:v1",
  kind: "image",
  isGone: false,
  imageReference: "registry.example/app:v1",
  manifestDigest: `sha256:${"a".repeat(64)}`,
  trust: "any index that refers to the image (no entry matches)",
  considered: [
    {
      digest: `sha256:${"e".repeat(64)}`,
      origin: "referrers",
      taken: true,
      why: "the newest of two",
    },
    { digest: `sha256:${"f".repeat(64)}`, origin: "referrers", taken: false, why: "older" },
  ],
  layers: [LAZY],
};

/** The text with its line breaks taken out, since these come where the words happen to end. */
function flat(text: string): string {
  return text.replace(/\s+/g, " ");
}

describe("explainReport()", () => {
  it("says per layer what it is, why, by which index, from where, and what comes next", () => {
    const { text } = explainReport(DOCUMENT);
    assert.match(flat(text), /1 layer; all of them start before they are downloaded\./);
    assert.match(flat(text), /Index: 2 were found\./);
    assert.match(flat(text), /- not taken: sha256:f+, from referrers:\s+older/);
    assert.match(flat(text), /- lazy: its bytes come when they are read/);
    assert.match(flat(text), /- by an index: yes, its ztoc was fetched and verified/);
    assert.match(flat(text), /- index sha256:e{12}, from referrers/);
    assert.match(
      text,
      /- here: 5\.0 MB of 150\.0 MB; fetched 2\.0 MB in 4 requests from mirror\.example/,
    );
    assert.match(flat(text), /- next: reads fetch what is not here yet\./);
    assert.match(flat(text), /- Nothing to do: all layers are as they should be\.$/);
    assert.ok(
      text.split("\n").every((line) => line.length <= LINE_WIDTH),
      text,
    );
  });

  it("says that there is nothing but a memory of an image whose pull failed", () => {
    const said = flat(explainReport({ ...DOCUMENT, isGone: true }).text);
    assert.match(said, /containerd has no snapshots of it: its pull failed/);
    assert.doesNotMatch(flat(explainReport(DOCUMENT).text), /no snapshots of it/);
  });

  it("says that all of a layer is here that was read whole and not opened yet", () => {
    const streamed = { ...LAZY, state: "streamed", uncompressedBytes: undefined } as const;
    const { text } = explainReport({ ...DOCUMENT, layers: [{ ...streamed, presentBytes: 0 }] });
    assert.match(text, /- here: all; fetched/);
  });

  it("tells failures, the time of the next try, and what a refused index means", () => {
    const layer: ExplainLayer = {
      ...LAZY,
      state: "pulled",
      indexDigest: undefined,
      steps: [
        { tried: "index", worked: false, why: "the trust policy refuses it" },
        { tried: "stream", worked: false, why: "the registry answered 503" },
        { tried: "pull", worked: true, why: "nothing else was left" },
      ],
      failures: [
        { time: "2026-11-22T10:20:00Z", code: "unavailable", message: "503\u001b[2J", times: 2 },
      ],
      retryAt: "2026-11-22T10:20:05Z",
    };
    const considered = DOCUMENT.considered.map((choice) => ({ ...choice, taken: false }));
    const { text, json } = explainReport({
      ...DOCUMENT,
      kind: "snapshot",
      subject: "k",
      considered,
      layers: [LAZY, layer],
    });
    assert.match(flat(text), /2 layers; 1 of them starts before/);
    assert.match(flat(text), /- read whole by the node: no, the registry answered 503/);
    assert.match(
      flat(text),
      /- failed 2026-11-22 10:20:00 UTC: unavailable: 503\?\[2J \(2 times\)/,
    );
    assert.match(flat(text), /It is tried again at 2026-11-22 10:20:05 UTC\./);
    assert.match(flat(text), /There are indexes, and none was taken/);
    assert.match(flat(text), /1 layer had to be pulled whole/);
    assert.match(flat(text), /The registry cannot be reached, or fails: see to it/);
    assert.equal((json as { advice: string[] }).advice.length, 4);
  });
});

describe("adviceFor()", () => {
  it("names `soci create` where there is no index, and a pull where nothing is known", () => {
    const streamed = { ...LAZY, state: "streamed" as const };
    const none = adviceFor({ ...DOCUMENT, considered: [], layers: [streamed] });
    assert.match(none[0]!, /soci create --push registry\.example\/app:v1/);
    assert.match(
      adviceFor({ ...DOCUMENT, layers: [] })[0]!,
      /was it pulled with this snapshotter\?/,
    );
  });
});
