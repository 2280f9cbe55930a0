import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError } from "@soci-ts/core";
import type { StatusDocument } from "../documents.ts";
import { type WatchStatusOptions, watchStatus } from "./watch-status.ts";

function document(uptimeMs: number, fetchedBytes: number, pid = 1): StatusDocument {
  const layer = {
    layerDigest: `sha256:${"a".repeat(64)}`,
    state: "lazy",
    presentBytes: 0,
    fetchedBytes,
    requests: fetchedBytes / 1000,
  } as const;
  return {
    version: "1.2.3",
    pid,
    startedAt: "2026-01-02T03:04:05.000Z",
    uptimeMs,
    root: "/r",
    address: "/a",
    door: { kind: "erofs", why: "it works" },
    kernel: [],
    processes: [],
    images: [{ imageReference: "x/y:v1", manifestDigest: layer.layerDigest, layers: [layer] }],
    mounts: [],
    cache: { layers: 1, sizeBytes: 1, freeBytes: 1, quotaBytes: 0, minFreeBytes: 0 },
    fallbacks: [],
    errors: [],
  };
}

/** Watches what a daemon answers, one after the other, and ends; what was written each time. */
async function watched(
  answers: readonly (StatusDocument | AppError)[],
  options: Partial<WatchStatusOptions> = {},
): Promise<readonly string[]> {
  const abort = new AbortController();
  const written: string[] = [];
  let at = 0;
  await watchStatus({
    status: async () => {
      const answer = answers[at];
      at += 1;
      if (at === answers.length) abort.abort();
      if (answer === undefined || answer instanceof AppError) throw answer;
      return answer;
    },
    write: async (text) => void written.push(text),
    json: false,
    isTerminal: false,
    intervalMs: 1,
    signal: abort.signal,
    ...options,
  });
  return written;
}

const gone = new AppError("unavailable", "Cannot reach the daemon");

describe("watchStatus()", () => {
  it("shows the status again and again, and what came meanwhile", async () => {
    const [first = "", second = ""] = await watched([document(1000, 0), document(3000, 4_000_000)]);
    assert.match(first, /^version/);
    assert.match(
      second,
      /^last 2\.0 s: fetched 4\.0 MB \(2\.0 MB\/s\) in 4000 requests\n\nversion/,
    );
  });

  it("clears a terminal, and nothing else", async () => {
    const [view] = await watched([document(1000, 0)], { isTerminal: true });
    assert.ok(view?.startsWith("\u001b[H\u001b[2J\u001b[3J"));
  });

  it("waits for a daemon that is started anew, whose figures are not compared", async () => {
    const written = await watched([document(9000, 5000), gone, document(10, 0, 2)]);
    assert.equal(written.length, 3);
    assert.match(written[1] ?? "", /Cannot reach the daemon/);
    assert.match(written[2] ?? "", /^version/);
  });

  it("writes a document on each line with --json", async () => {
    const written = await watched([document(1, 0), gone, document(2, 0)], { json: true });
    assert.deepEqual(
      written.map((line) => (JSON.parse(line) as StatusDocument).uptimeMs),
      [1, 2],
    );
  });

  it("ends with an error that waiting does not help", async () => {
    const denied = new AppError("permission_denied", "Cannot connect: EACCES");
    await assert.rejects(watched([denied, document(1, 0)]), { code: "permission_denied" });
  });
});
