import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { sha256 } from "@soci-ts/core";
import { MEDIA_TYPE_OCI_INDEX, MEDIA_TYPE_OCI_MANIFEST } from "@soci-ts/oci";
import { openDatabase } from "@soci-ts/sqlite";
import { checkRegistry } from "../fsck.ts";
import { openRegistryServer } from "../registry-server.ts";
import { freshFolder, manifestOf } from "../testing/harness.ts";
import { MIGRATIONS } from "./schema.ts";

describe("MIGRATIONS", () => {
  it("derive from an older catalogue's manifests what they need", async () => {
    await using folder = await freshFolder();
    const layers = ["layer", 'é\\"layer', "foreign"].map((text) => Buffer.from(text));
    const config = Buffer.from("{}");
    const foreign = {
      mediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar",
      digest: sha256(layers[2]!),
      size: 7,
    };
    const plain = JSON.parse(
      manifestOf(layers.slice(0, 2).map((bytes) => sha256(bytes))).toString(),
    ) as { layers: unknown[] };
    plain.layers.push(foreign);
    const image = Buffer.from(JSON.stringify({ ...plain, annotations: { "é\u2028": '"\\' } }));
    const entry = { mediaType: MEDIA_TYPE_OCI_MANIFEST, digest: sha256(image), size: image.length };
    const index = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPE_OCI_INDEX, manifests: [entry] }),
    );
    await mkdir(join(folder.path, "blobs/sha256"), { recursive: true });
    {
      const path = join(folder.path, "catalogue.sqlite");
      using database = openDatabase(path, { migrations: MIGRATIONS.slice(0, 1) });
      const run = (sql: string, ...values: (string | number | Uint8Array)[]) =>
        database.prepare(sql).run(...values);
      run("INSERT INTO repository VALUES (1, 'a')");
      for (const bytes of [config, ...layers.slice(0, 2)]) {
        await writeFile(join(folder.path, "blobs/sha256", sha256(bytes).slice(7)), bytes);
        run("INSERT INTO blob VALUES (?, ?, 1)", sha256(bytes), bytes.length);
        run("INSERT INTO repository_blob VALUES (1, ?, 1)", sha256(bytes));
      }
      for (const [type, bytes] of [
        [MEDIA_TYPE_OCI_MANIFEST, image],
        [MEDIA_TYPE_OCI_INDEX, index],
      ] as const) {
        run("INSERT INTO content (digest, bytes) VALUES (?, ?)", sha256(bytes), bytes);
        run(
          "INSERT INTO manifest (repository, digest, media_type, size, created_ms) VALUES (1, ?, ?, ?, 1)",
          sha256(bytes),
          type,
          bytes.length,
        );
      }
    }
    {
      const policy = { graceMs: 0, untaggedKeepMs: 0 };
      await using server = await openRegistryServer(folder.path, {
        gc: { policy, intervalMs: 0 },
      });
      assert.deepEqual((await checkRegistry(folder.path)).findings, []);
      const report = await server.collectGarbage();
      assert.deepEqual([report.manifests, report.blobs], [1, 0]);
    }
    assert.equal((await checkRegistry(folder.path)).faults, 0);
  });
});
