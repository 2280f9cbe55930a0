import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError, abortable, type IoOptions, sha256 } from "@soci-ts/core";
import type { ImageSource, ResolvedImage } from "@soci-ts/soci";
import { resolveInTime } from "./resolve-in-time.ts";

const SIGNAL = new AbortController().signal;

/** What a registry that hangs answers; the connection would keep the process alive. */
async function never<T>({ signal }: IoOptions = {}): Promise<T> {
  const connection = setInterval(() => {}, 1000);
  try {
    return await abortable(new Promise<T>(() => {}), signal);
  } finally {
    clearInterval(connection);
  }
}

function source(parts: Partial<ImageSource>): ImageSource {
  const unused = (): never => assert.fail("not to be used");
  return {
    reference: "example.org/app",
    resolve: unused,
    platforms: unused,
    openBlob: unused,
    ...parts,
  };
}

function resolved(config: ResolvedImage["config"]): ResolvedImage {
  const manifestBytes = Buffer.from("{}");
  const manifestDescriptor = { mediaType: "x", digest: sha256(manifestBytes), size: 2 };
  return { manifestDescriptor, manifest: {} as ResolvedImage["manifest"], manifestBytes, config };
}

describe("resolveInTime()", () => {
  it("gives up a registry that does not answer with the manifest", async () => {
    const hung = source({ resolve: (_, io) => never(io) });
    const options = { signal: SIGNAL, lookupTimeoutMs: 20 };
    await assert.rejects(resolveInTime(hung, options), {
      code: "deadline_exceeded",
      message: "Cannot read the image's manifest: no answer within 20 ms",
    });
  });

  it("gives up a registry that does not answer with the config", async () => {
    const hung = source({ resolve: async () => resolved((io) => never(io)) });
    const { config } = await resolveInTime(hung, { signal: SIGNAL, lookupTimeoutMs: 20 });
    await assert.rejects(config, { code: "deadline_exceeded", message: /image's config/ });
  });

  it("passes on what the source says, and its caller's abort", async () => {
    const refused = source({
      resolve: async () => {
        throw new AppError("unauthenticated", "no login");
      },
    });
    const options = { signal: SIGNAL, lookupTimeoutMs: 1000 };
    await assert.rejects(resolveInTime(refused, options), { code: "unauthenticated" });
    const hung = source({ resolve: (_, io) => never(io) });
    const signal = AbortSignal.abort(new Error("enough"));
    await assert.rejects(resolveInTime(hung, { ...options, signal }), /enough/);
  });
});
