import { createHash } from "node:crypto";
import { writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { sha256 } from "@soci-ts/core";
import { openRegistryServer, type RegistryServer } from "../registry-server.ts";
import { ask, manifestOf, pieces, putBlob } from "./harness.ts";

/**
 * In each of two registries: pushes, deletes and collects garbage until it is killed. Says on stdout what it is about to do and what was answered, one
 * line each, written before it goes on: so whoever kills it knows what was acknowledged.
 */
const [folder = "", round = ""] = process.argv.slice(2);

const bytesOf = (seed: string): Buffer =>
  Buffer.concat(
    Array.from({ length: 40 }, (_, at) => createHash("sha256").update(`${seed} ${at}`).digest()),
  );
const headers = { "content-type": "application/vnd.oci.image.manifest.v1+json" };

interface Room {
  readonly server: RegistryServer;
  readonly say: (line: string) => void;
}

async function put(server: RegistryServer, path: string, body: Uint8Array): Promise<number> {
  return (await ask(server, "PUT", path, { body, headers })).status;
}

async function pushImages({ server, say }: Room, worker: number): Promise<never> {
  for (let i = 0; ; i += 1) {
    const tag = `r${round}-w${worker}-${i}`;
    await putBlob(server, "r", Buffer.from("{}"));
    const layer = await putBlob(server, "r", bytesOf(tag));
    const manifest = manifestOf([layer]);
    const digest = sha256(manifest);
    say(`trying ${tag} ${digest}`);
    if ((await put(server, `/v2/r/manifests/${tag}`, manifest)) === 201)
      say(`pushed ${tag} ${digest}`);
    const referrer = manifestOf([], {
      subject: { mediaType: headers["content-type"], digest, size: manifest.length },
    });
    const signature = sha256(referrer);
    if ((await put(server, `/v2/r/manifests/${signature}`, referrer)) === 201) {
      say(`referrer ${tag} ${signature}`);
    }
    if ((i + worker) % 2 === 0) continue;
    say(`deleting ${tag} ${digest}`);
    const removed = await ask(server, "DELETE", `/v2/r/manifests/${digest}`);
    if (removed.status === 202) say(`deleted ${tag}`);
  }
}

async function pushRubbish({ server, say }: Room): Promise<never> {
  for (let i = 0; ; i += 1) {
    const bytes = bytesOf(`rubbish ${round} ${i}`);
    await putBlob(server, "r", bytes);
    const wrong = sha256(Buffer.from(`wrong ${round} ${i}`));
    await ask(server, "POST", `/v2/r/blobs/uploads/?digest=${wrong}`, { body: pieces(bytes) });
    say(`refused ${i} ${wrong}`);
    const location = (await ask(server, "POST", "/v2/r/blobs/uploads/")).headers["Location"] ?? "";
    await ask(server, "PATCH", location, { body: bytes });
    await sleep(3);
  }
}

async function collect({ server }: Room): Promise<never> {
  for (;;) {
    await server.collectGarbage();
    await sleep(2);
  }
}

const rooms: Room[] = [];
for (const name of ["0", "1"]) {
  const policy = { graceMs: 40, untaggedKeepMs: 5, orphanKeepMs: 5 };
  const server = await openRegistryServer(join(folder, name), { gc: { policy, intervalMs: 0 } });
  rooms.push({ server, say: (line) => writeSync(1, `${name} ${line}\n`) });
}
await Promise.all(
  rooms.flatMap((room) => [
    pushImages(room, 1),
    pushImages(room, 2),
    pushRubbish(room),
    collect(room),
  ]),
);
