import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { get, type IncomingMessage, request } from "node:http";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  buildTar,
  command,
  gzipLayer,
  hasProgram,
  seededBytes,
  writeLayout,
} from "@soci-ts/testkit";
import { ask, digestOf, freshFolder } from "./testing/http.ts";
import { type Program, startProgram } from "./testing/program.ts";

const PIECE = Buffer.alloc(65_536, "soci");

describe("soci-referrers and skopeo", {
  skip: !hasProgram("skopeo") && "skopeo is not installed",
}, () => {
  it("takes an image from a layout and gives it back byte for byte", async () => {
    await using folder = await freshFolder();
    await using program = await startProgram(join(folder.path, "root"));
    const tar = await buildTar([
      { name: "hello", type: "file", content: Buffer.from("hello\n") },
      { name: "big", type: "file", content: seededBytes(3_000_000, 3) },
    ]);
    const image = await writeLayout(join(folder.path, "in"), [gzipLayer(tar)]);
    const reference = `docker://${new URL(program.url).host}/lib/x:v1`;
    await command("skopeo", [
      "copy",
      "--dest-tls-verify=false",
      `oci:${image.directory}:latest`,
      reference,
    ]);
    const inspected = await command("skopeo", ["inspect", "--tls-verify=false", reference]);
    const { Digest } = JSON.parse(inspected.stdout) as { Digest: string };
    assert.equal(Digest, image.manifest.digest);
    const out = join(folder.path, "out");
    await command("skopeo", ["copy", "--src-tls-verify=false", reference, `oci:${out}:latest`]);
    for (const { digest } of [image.manifest, image.config, ...image.layers]) {
      const path = join("blobs", digest.replace(":", "/"));
      assert.deepEqual(
        await readFile(join(out, path)),
        await readFile(join(image.directory, path)),
      );
    }
    const other = `docker://${new URL(program.url).host}/lib/y:v1`;
    await command("skopeo", [
      "copy",
      "--src-tls-verify=false",
      "--dest-tls-verify=false",
      reference,
      other,
    ]);
    await command("skopeo", ["delete", "--tls-verify=false", other]);
    await assert.rejects(
      command("skopeo", ["inspect", "--tls-verify=false", other]),
      /manifest unknown/i,
    );
    await command("skopeo", ["inspect", "--tls-verify=false", reference]);
  });
});

describe("soci-referrers and umoci", {
  skip: !(hasProgram("skopeo") && hasProgram("umoci")) && "skopeo or umoci is not installed",
}, () => {
  it("gives an image that umoci made back so that umoci unpacks it", async () => {
    await using folder = await freshFolder();
    await using program = await startProgram(join(folder.path, "root"));
    const layout = join(folder.path, "in");
    const image = `${layout}:latest`;
    const content = seededBytes(100_000, 5);
    await writeFile(join(folder.path, "data"), content);
    await command("umoci", ["init", "--layout", layout]);
    await command("umoci", ["new", "--image", image]);
    await command("umoci", [
      "insert",
      "--rootless",
      "--image",
      image,
      join(folder.path, "data"),
      "/etc/data",
    ]);
    const reference = `docker://${new URL(program.url).host}/umoci/made:v1`;
    await command("skopeo", ["copy", "--dest-tls-verify=false", `oci:${image}`, reference]);
    const out = join(folder.path, "out");
    await command("skopeo", ["copy", "--src-tls-verify=false", reference, `oci:${out}:latest`]);
    const bundle = join(folder.path, "bundle");
    await command("umoci", ["unpack", "--rootless", "--image", `${out}:latest`, bundle]);
    assert.ok((await readFile(join(bundle, "rootfs/etc/data"))).equals(content));
  });
});

describe("soci-referrers killed with SIGKILL", () => {
  it("in the middle of an upload: no blob is to be seen, the upload goes on, leftovers go", async () => {
    await using folder = await freshFolder();
    const bytes = randomBytes(8_000_000);
    const digest = digestOf(bytes);
    let path = "";
    {
      await using program = await startProgram(folder.path);
      path = (await ask(program.url, "POST", "/v2/r/blobs/uploads/")).headers.location!;
      const patched = startBody(program, "PATCH", path, bytes, 5_000_000);
      const single = startBody(
        program,
        "POST",
        `/v2/r/blobs/uploads/?digest=${digest}`,
        bytes,
        5_000_000,
      );
      await waitFor(async () => {
        const sizes = await uploadSizes(folder.path);
        return sizes.length === 2 && sizes.every((size) => size === 5_000_000);
      });
      await program.end("SIGKILL");
      patched.destroy();
      single.destroy();
    }
    await using restarted = await startProgram(folder.path);
    assert.equal((await uploadSizes(folder.path)).length, 1);
    assert.equal((await ask(restarted.url, "HEAD", `/v2/r/blobs/${digest}`)).status, 404);
    const { headers } = await ask(restarted.url, "GET", path);
    const start = Number(headers["range"]!.slice(2)) + 1;
    assert.equal(start, 5_000_000);
    const put = await ask(restarted.url, "PUT", `${path}?digest=${digest}`, {
      body: bytes.subarray(start),
      headers: { "content-range": `${start}-${bytes.length - 1}` },
    });
    assert.equal(put.status, 201);
    assert.deepEqual((await ask(restarted.url, "GET", `/v2/r/blobs/${digest}`)).bytes, bytes);
    assert.deepEqual(await uploadSizes(folder.path), []);
  });

  it("at random points of pushes: every acknowledged blob is there, every other absent or whole", async () => {
    await using folder = await freshFolder();
    const acknowledged = new Map<string, Buffer>();
    const attempted = new Map<string, Buffer>();
    for (let round = 0; round < 4; round++) {
      await using program = await startProgram(folder.path);
      const pushing = Array.from({ length: 4 }, () =>
        pushUntilItFails(program, attempted, acknowledged),
      );
      await sleep(30 + round * 75);
      await program.end("SIGKILL");
      await Promise.all(pushing);
    }
    await using program = await startProgram(folder.path);
    assert.ok(acknowledged.size > 0);
    for (const [digest, bytes] of attempted) {
      const answer = await ask(program.url, "GET", `/v2/r/blobs/${digest}`);
      if (answer.status === 200) assert.deepEqual(answer.bytes, bytes);
      else
        assert.ok(!acknowledged.has(digest), `${digest} was acknowledged and is ${answer.status}`);
    }
    const files = await readdir(join(folder.path, "blobs/sha256"));
    for (const name of files) {
      const { status } = await ask(program.url, "HEAD", `/v2/r/blobs/sha256:${name}`);
      assert.equal(status, 200, `${name} has a file but no entry`);
    }
  });
});

describe("soci-referrers under load", () => {
  it("moves a blob of 400 MB in and out in bounded memory", async () => {
    await using folder = await freshFolder();
    await using program = await startProgram(folder.path);
    const total = 400 * 1024 * 1024;
    const path = (await ask(program.url, "POST", "/v2/big/blobs/uploads/")).headers.location!;
    const outgoing = request(program.url, { method: "PATCH", path });
    const answered = once(outgoing, "response") as Promise<[IncomingMessage]>;
    const hash = createHash("sha256");
    for (let sent = 0; sent < total; sent += PIECE.length) {
      hash.update(PIECE);
      if (!outgoing.write(PIECE)) await once(outgoing, "drain");
    }
    outgoing.end();
    (await answered)[0].resume();
    const digest = `sha256:${hash.digest("hex")}`;
    assert.equal((await ask(program.url, "PUT", `${path}?digest=${digest}`)).status, 201);
    const download = get(`${program.url}/v2/big/blobs/${digest}`);
    const [response] = (await once(download, "response")) as [IncomingMessage];
    let received = 0;
    for await (const piece of response) received += (piece as Buffer).length;
    assert.equal(received, total);
    const status = readFileSync(`/proc/${program.pid}/status`, "utf8");
    const peakKib = Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]);
    assert.ok(peakKib < 220 * 1024, `peak memory ${peakKib} KiB`);
  });
});

/** Sends the first `count` bytes of a body and then nothing. */
function startBody(
  program: Program,
  method: string,
  path: string,
  bytes: Buffer,
  count: number,
): { destroy(): void } {
  const headers = { "content-length": bytes.length };
  const outgoing = request(program.url, { method, path, headers });
  outgoing.on("error", () => {});
  outgoing.write(bytes.subarray(0, count));
  return outgoing;
}

async function pushUntilItFails(
  program: Program,
  attempted: Map<string, Buffer>,
  acknowledged: Map<string, Buffer>,
): Promise<void> {
  for (;;) {
    const bytes = randomBytes(300_000);
    const digest = digestOf(bytes);
    attempted.set(digest, bytes);
    try {
      const { headers } = await ask(program.url, "POST", "/v2/r/blobs/uploads/");
      await ask(program.url, "PATCH", headers.location!, { body: bytes.subarray(0, 200_000) });
      const last = { body: bytes.subarray(200_000) };
      const put = await ask(program.url, "PUT", `${headers.location}?digest=${digest}`, last);
      if (put.status === 201) acknowledged.set(digest, bytes);
    } catch {
      // The program was killed: that is what this is about.
      return;
    }
  }
}

async function uploadSizes(root: string): Promise<number[]> {
  const folder = join(root, "uploads");
  return (await readdir(folder)).map((name) => readFileSync(join(folder, name)).length);
}

async function waitFor(isDone: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!(await isDone())) {
    assert.ok(Date.now() < deadline, "waited 10 s in vain");
    await sleep(20);
  }
}
