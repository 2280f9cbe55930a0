import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { StatusDocument } from "../documents.ts";
import { LINE_WIDTH, renderReport } from "../output.ts";
import { statusReport } from "./status.ts";

const DOCUMENT: StatusDocument = {
  version: "0.2.0",
  pid: 42,
  startedAt: "2026-11-22T10:15:03.123Z",
  uptimeMs: 3_700_000,
  root: "/var/lib/soci-snapshotter",
  address: "/run/soci-snapshotter/soci-snapshotter.sock",
  door: {
    kind: "loop",
    why: "EROFS from files was refused: this kernel is 6.8, want 6.12; EROFS on loop devices was tried and works",
  },
  kernel: [{ name: "release", value: "6.8.0" }],
  processes: [{ name: "keeper", pid: 40, residentBytes: 9e6, restarts: 0 }],
  images: [
    {
      imageReference: `registry.example/${"team/".repeat(20)}app:v1`,
      manifestDigest: `sha256:${"a".repeat(64)}`,
      layers: [
        {
          layerDigest: `sha256:${"b".repeat(64)}`,
          layer: 1,
          state: "lazy",
          sizeBytes: 65e6,
          presentBytes: 5e6,
          uncompressedBytes: 150e6,
          fetchedBytes: 2e6,
          requests: 4,
        },
        {
          layerDigest: `sha256:${"c".repeat(64)}`,
          layer: 2,
          state: "streamed",
          presentBytes: 10,
          uncompressedBytes: 10,
          fetchedBytes: 8,
          requests: 1,
        },
        {
          layerDigest: `sha256:${"d".repeat(64)}`,
          state: "pulled",
          presentBytes: 0,
          fetchedBytes: 0,
          requests: 0,
        },
      ],
    },
  ],
  mounts: [
    {
      layer: 1,
      directory: `/var/lib/soci-snapshotter/${"deep/".repeat(30)}1`,
      isLocal: true,
      state: "in use",
      users: 2,
    },
  ],
  cache: {
    layers: 2,
    sizeBytes: 5e6,
    freeBytes: 1e9,
    quotaBytes: 8e6,
    minFreeBytes: 2e9,
    lastEviction: { time: "2026-11-22T10:18:00Z", sizeBytes: 3e6 },
  },
  fallbacks: [
    { kind: "no_index", count: 2 },
    { kind: "door", count: 0 },
  ],
  errors: [
    {
      time: "2026-11-22T10:20:00Z",
      code: "unavailable",
      message: "Cannot fetch\nspan 5",
      about: "registry.example",
      times: 3,
    },
  ],
};

describe("statusReport()", () => {
  it("shows everything within 100 columns", () => {
    const { text } = statusReport(DOCUMENT);
    // A reference is never cut: people copy it.
    const lines = text.split("\n").filter((line) => !line.startsWith("Image "));
    assert.ok(
      lines.every((line) => line.length <= LINE_WIDTH),
      text,
    );
    assert.match(text, /running +1 h 1 min, since 2026-11-22 10:15:03 UTC, pid 42/);
    assert.match(text, /fetched +2\.0 MB in 5 requests/);
    assert.match(text, /sha256:b{12} +lazy +65\.0 MB +5\.0 MB of 150\.0 MB +2\.0 MB +4/);
    assert.match(text, /sha256:c{12} +streamed +\? +all 10 B/);
    assert.match(text, /sha256:d{12} +pulled +\? +unpacked/);
    assert.match(text, /^1 +in use +2 +file +/m);
    assert.match(text, /no_index +2/);
    assert.doesNotMatch(text, /^door +0/m);
    assert.match(
      text,
      /2026-11-22 10:20:00 +unavailable: Cannot fetch span 5 \(registry\.example\), 3 times/,
    );
  });

  it("gives the document itself with --json", () => {
    assert.deepEqual(
      JSON.parse(renderReport(statusReport(DOCUMENT), true)),
      JSON.parse(JSON.stringify(DOCUMENT)),
    );
  });

  it("shows a daemon that has nothing yet", () => {
    const { text } = statusReport({
      ...DOCUMENT,
      images: [],
      mounts: [],
      errors: [],
      fallbacks: [],
      processes: [],
      kernel: [],
    });
    assert.match(text, /Latest errors\nnone$/);
    assert.doesNotMatch(text, /Mounts|Steps back|Processes/);
  });
});
