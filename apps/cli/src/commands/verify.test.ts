import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError } from "@soci-ts/core";
import { pushLayout, startEmbeddedRegistry } from "@soci-ts/testkit";
import { documentOf, soci, temporaryDirectory } from "../testing/command-line.ts";
import { forgeIndex, HOSTILE_NAME, renamed } from "../testing/forge-index.ts";
import { sampleImage } from "../testing/images.ts";
import { testSession } from "../testing/session.ts";
import { create } from "./create.ts";
import { push } from "./push.ts";
import { verify } from "./verify.ts";

const SIZES = { spanSize: 65_536, minLayerSize: 0, reuse: "any" } as const;

interface VerdictDocument {
  readonly index: string;
  readonly found: string;
  readonly quick: boolean;
  readonly verified: boolean;
  readonly difference: Record<string, unknown> | null;
  readonly layers: readonly { readonly digest: string; readonly outcome: string }[];
}

function isNotFound(error: unknown): boolean {
  return error instanceof AppError && error.code === "not_found";
}

describe("soci verify", () => {
  it("proves an index of a layout, by the image's name and by digest, and names what is forged", async () => {
    await using folder = await temporaryDirectory();
    const root = join(folder.path, "store");
    const image = await sampleImage(folder.path);
    const name = `oci:${image.directory}`;
    await using session = testSession(root);
    const made = (await create(session, name, SIZES)).json as { index: string };
    const proved = await verify(session, name, {});
    assert.equal(proved.failed, undefined, proved.text);
    assert.match(proved.text, /every checkpoint.*\n.*all as the index says/);

    const forged = await forgeIndex(root, made.index, (index) => renamed(index, 1, HOSTILE_NAME));
    const refused = await soci(["--root", root, "--json", "verify", forged.slice(7, 20)]);
    assert.equal(refused.exitCode, 11, refused.stderr);
    const verdict = documentOf(refused) as unknown as VerdictDocument;
    assert.deepEqual([verdict.index, verdict.verified], [forged, false]);
    const { have, ...difference } = verdict.difference ?? {};
    assert.deepEqual(difference, {
      layer: image.layers[0]!.digest,
      part: "entry",
      number: 1,
      name: "etc/os-release",
      field: "name",
      offset: 512,
      want: '"etc/os-release"',
    });
    assert.match(String(have), /script/);
    assert.deepEqual(
      verdict.layers.map(({ outcome }) => outcome),
      ["different", "verified"],
    );
    const { text } = await verify(session, forged, {});
    assert.match(text, /first difference +layer sha256:[0-9a-f]{64}, entry 1, "etc\/os-release"/);
    for (const char of ["\u202e", "\0", "\u001b"]) assert.ok(!text.includes(char), text);
    // A name is in no span digest.
    assert.equal((await verify(session, forged, { quick: true })).failed, undefined);
    await rm(image.directory, { recursive: true });
    await assert.rejects(verify(session, forged, {}), isNotFound);
  });

  it("finds an index as a node does, and says so if there is none", async () => {
    await using folder = await temporaryDirectory();
    await using registry = await startEmbeddedRegistry();
    const image = await sampleImage(folder.path);
    const name = `${registry.host}/app:v1`;
    await pushLayout(image, registry.host, "app", "v1");
    await using session = testSession(join(folder.path, "store"));
    await assert.rejects(verify(session, name, {}), isNotFound);
    const made = (await create(session, name, SIZES)).json as { index: string };
    await push(session, name, { existingIndex: "warn", maxConcurrentUploads: 3 });
    assert.equal((await verify(session, made.index, {})).failed, undefined);
    await using other = testSession(join(folder.path, "other-store"));
    const found = (await verify(other, name, { quick: true })).json as VerdictDocument;
    assert.deepEqual([found.index, found.quick, found.verified], [made.index, true, true]);
    assert.match(found.found, /^referrers/);
  });
});
