import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { closeSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { checkRegistry } from "@soci-ts/registry-server";
import { command } from "@soci-ts/testkit";
import { testConfig } from "./testing/config.ts";
import { type Answer, ask, digestOf, freshFolder } from "./testing/http.ts";
import { type Service, startService } from "./wire.ts";

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const CONFIG = Buffer.from("{}");
const NO_MOUNT = process.getuid?.() !== 0 && "mounting a small file system wants root";

/** A tmpfs of 8 MiB that goes away with the test. */
async function smallDisk(): Promise<AsyncDisposable & { readonly path: string }> {
  const folder = await freshFolder();
  await command("mount", ["-t", "tmpfs", "-o", "size=8m", "tmpfs", folder.path]);
  return {
    path: folder.path,
    [Symbol.asyncDispose]: async () => {
      await command("umount", [folder.path]);
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Takes all space that is left; gives the path of the file that has it. */
function fillUp(disk: string): string {
  const path = join(disk, "filler");
  const file = openSync(path, "a");
  try {
    for (;;) writeSync(file, Buffer.alloc(4096));
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, "ENOSPC");
  } finally {
    closeSync(file);
  }
  assert.equal(statfsSync(disk).bavail, 0);
  return path;
}

const pushBlob = (service: Service, bytes: Buffer): Promise<Answer> =>
  ask(service.url, "POST", `/v2/r/blobs/uploads/?digest=${digestOf(bytes)}`, { body: bytes });

function manifestOf(layer: Buffer, name: string): Buffer {
  const descriptor = (mediaType: string, bytes: Buffer) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  });
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: descriptor("application/vnd.oci.image.config.v1+json", CONFIG),
      layers: [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
      annotations: { name },
    }),
  );
}

const pushManifest = (service: Service, tag: string, body: Buffer): Promise<Answer> =>
  ask(service.url, "PUT", `/v2/r/manifests/${tag}`, {
    body,
    headers: { "content-type": MANIFEST },
  });

function assertFull(answer: Answer): void {
  assert.equal(answer.status, 507);
  assert.match(answer.headers["content-type"] ?? "", /^application\/json/);
  const { errors } = JSON.parse(answer.bytes.toString()) as { errors: { message: string }[] };
  assert.match(errors[0]?.message ?? "", /disk is full/);
}

/** Pushes until the disk is full; gives what was acknowledged. */
async function pushUntilFull(service: Service): Promise<Buffer[]> {
  const pushed: Buffer[] = [];
  for (;;) {
    const bytes = randomBytes(200_000);
    const answer = await pushBlob(service, bytes);
    if (answer.status !== 201) {
      assertFull(answer);
      return pushed;
    }
    pushed.push(bytes);
  }
}

describe("soci-referrers on a full disk", { skip: NO_MOUNT }, () => {
  it("answers 507, loses nothing, serves, deletes, starts, and goes on when there is room", async () => {
    await using disk = await smallDisk();
    const root = join(disk.path, "root");
    const config = testConfig(root);
    let pushed: Buffer[] = [];
    const tags = new Map<string, Buffer>();
    const read = async (service: Service): Promise<void> => {
      for (const bytes of pushed) {
        const path = `/v2/r/blobs/${digestOf(bytes)}`;
        assert.equal((await ask(service.url, "HEAD", path)).status, 200);
        assert.deepEqual((await ask(service.url, "GET", path)).bytes, bytes);
      }
      for (const [tag, bytes] of tags) {
        assert.deepEqual((await ask(service.url, "GET", `/v2/r/manifests/${tag}`)).bytes, bytes);
      }
    };
    {
      await using service = await startService(config);
      await pushBlob(service, CONFIG);
      const huge = randomBytes(9_000_000);
      assertFull(await pushBlob(service, huge));
      const path = (await ask(service.url, "POST", "/v2/r/blobs/uploads/")).headers.location ?? "";
      assertFull(await ask(service.url, "PATCH", path, { body: huge }));
      assert.equal((await ask(service.url, "DELETE", path)).status, 204);
      pushed = await pushUntilFull(service);
      const [layer] = pushed;
      assert.ok(layer && pushed.length > 20);
      const resumed = randomBytes(50_000);
      const upload =
        (await ask(service.url, "POST", "/v2/r/blobs/uploads/")).headers.location ?? "";
      const filler = fillUp(disk.path);
      assertFull(await ask(service.url, "PATCH", upload, { body: resumed }));
      for (let i = 0; ; i += 1) {
        const manifest = manifestOf(layer, String(i));
        const answer = await pushManifest(service, `t${i}`, manifest);
        if (answer.status === 201) tags.set(`t${i}`, manifest);
        else {
          assertFull(answer);
          break;
        }
      }
      await read(service);
      const gone = pushed.pop() ?? CONFIG;
      const deleted = await ask(service.url, "DELETE", `/v2/r/blobs/${digestOf(gone)}`);
      assert.equal(deleted.status, 202, deleted.bytes.toString());
      rmSync(filler);
      const offset = Number((await ask(service.url, "GET", upload)).headers.range?.slice(2));
      const rest = { body: resumed.subarray(offset === 0 ? 0 : offset + 1) };
      const put = `${upload}?digest=${digestOf(resumed)}`;
      assert.equal((await ask(service.url, "PUT", put, rest)).status, 201);
      pushed.push(resumed);
      const manifest = manifestOf(layer, "after");
      assert.equal((await pushManifest(service, "after", manifest)).status, 201);
      tags.set("after", manifest);
      fillUp(disk.path);
    }
    fillUp(disk.path);
    {
      await using service = await startService(config);
      await read(service);
      rmSync(join(disk.path, "filler"));
    }
    assert.deepEqual(await readdir(join(root, "uploads")), []);
    const { mode, findings } = await checkRegistry(root);
    assert.deepEqual([mode, findings], ["offline", []]);
  });
});

describe("soci-referrers on a read-only file system", { skip: NO_MOUNT }, () => {
  it("serves in read-only mode and can be checked, also after a kill", async () => {
    await using disk = await smallDisk();
    const root = join(disk.path, "root");
    const bytes = randomBytes(1000);
    {
      await using service = await startService(testConfig(root));
      await pushBlob(service, bytes);
      // What the catalogue's WAL has is not in its file yet.
      await command("cp", ["-a", root, `${root}-killed`]);
    }
    await command("mount", ["-o", "remount,ro", disk.path]);
    for (const path of [root, `${root}-killed`]) {
      await using service = await startService(testConfig(path, 'mode = "read-only"'));
      const answer = await ask(service.url, "GET", `/v2/r/blobs/${digestOf(bytes)}`);
      assert.deepEqual(answer.bytes, bytes);
      assert.equal((await pushBlob(service, randomBytes(10))).status, 405);
      const { faults, blobs } = await checkRegistry(path);
      assert.deepEqual([faults, blobs], [0, 1]);
    }
  });
});
