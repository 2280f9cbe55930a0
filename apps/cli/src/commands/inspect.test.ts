import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { buildTar, gzipLayer, seededBytes, writeLayout } from "@soci-ts/testkit";
import { temporaryDirectory } from "../testing/command-line.ts";
import { forgeIndex, HOSTILE_NAME, renamed } from "../testing/forge-index.ts";
import { testSession } from "../testing/session.ts";
import { create } from "./create.ts";
import { inspect } from "./inspect.ts";

interface InspectionDocument {
  readonly index: {
    readonly digest: string;
    readonly createdAt: string;
    readonly buildTool: string;
  };
  readonly considered: readonly { readonly digest: string | null; readonly taken: boolean }[];
  readonly imageBytes: number;
  readonly lazyBytes: number;
  readonly indexBytes: number;
  readonly layers: readonly {
    readonly kind: string;
    readonly lazy: boolean;
    readonly why?: string;
    readonly entries?: number;
    readonly indexedAt?: string;
    readonly ztocSizeBytes?: number;
    readonly sizeBytes: number;
  }[];
  readonly largestFiles: readonly { readonly name: string; readonly layer: number }[];
}

describe("soci inspect", () => {
  it("tells what is lazy, by what and since when, and what was looked at, as text, document and page", async () => {
    await using folder = await temporaryDirectory();
    const root = join(folder.path, "store");
    const layer = async (name: string, sizeBytes: number) =>
      gzipLayer(await buildTar([{ name, content: seededBytes(sizeBytes, 3) }]));
    const image = await writeLayout(join(folder.path, "layout"), [
      await layer("large", 300_000),
      await layer("small", 10),
    ]);
    const name = `oci:${image.directory}`;
    await using session = testSession(root);
    const before = await inspect(session, name, {});
    assert.match(before.text, /index +none\n/);
    assert.equal((before.json as InspectionDocument).index, null);

    const sizes = { spanSize: 65_536, minLayerSize: 1000, reuse: "any" } as const;
    const made = (await create(session, name, sizes)).json as { index: string };
    const { json, text } = await inspect(session, name, {});
    const document = json as InspectionDocument;
    assert.deepEqual(
      [document.index.digest, document.index.buildTool],
      [made.index, "AWS SOCI CLI v0.2"],
    );
    assert.ok(Math.abs(Date.parse(document.index.createdAt) - Date.now()) < 600_000);
    const [large, small] = document.layers;
    assert.deepEqual([large?.lazy, large?.kind, large?.entries], [true, "gzip", 1]);
    assert.match(small?.why ?? "", /below 10485760 bytes/);
    assert.equal(document.lazyBytes, large?.sizeBytes);
    assert.ok(document.indexBytes > (large?.ztocSizeBytes ?? 0));
    assert.match(text, /lazy +AWS SOCI CLI v0\.2 +\d{4}-\d\d-\d\d/);
    assert.equal(large?.indexedAt, document.index.createdAt);

    const forged = await forgeIndex(root, made.index, (index) => renamed(index, 0, HOSTILE_NAME));
    const html = join(folder.path, "page.html");
    const second = await inspect(session, name, { html });
    const { considered, largestFiles } = second.json as InspectionDocument;
    assert.deepEqual([considered[0]?.digest, considered[0]?.taken], [forged, true]);
    assert.equal(largestFiles[0]?.layer, 0);
    const page = await readFile(html, "utf8");
    for (const char of ["\u202e", "\0", "\u001b"]) {
      assert.ok(!second.text.includes(char));
      assert.ok(!page.includes(char));
    }
    assert.match(second.text, /page written to/);
    await assert.rejects(inspect(session, name, { html: folder.path }), /Cannot write page/);
  });
});
