// A registry without the referrers API, the companion before it, and a node that knows only the companion.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { DisposeStack } from "@soci-ts/core";
import {
  command,
  debianSkipReason,
  type FaultProxy,
  hasProgram,
  type RunningRegistry,
  startDockerRegistry,
  startFaultProxy,
} from "@soci-ts/testkit";
import { type CompanionService, startCompanionService } from "./companion-service.ts";
import { containerdsForTests, type LazyNode, REGISTRY, startLazyNode } from "./node-fixture.ts";
import { imageLayout, PAUSE, SMALL_IMAGES } from "./node-images.ts";
import { type Pod, startPod } from "./node-pod.ts";
import { soci } from "./soci-command.ts";

const { python } = SMALL_IMAGES;
const REFERENCE = `${REGISTRY}/${python.name}:v1`;
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json";

const { programs: versions, skip: noContainerd } = await containerdsForTests();
const newest = versions.at(-1);
const skip =
  noContainerd || (!hasProgram("skopeo") && "not installed: skopeo") || (await debianSkipReason());

describe("a companion before a registry without the referrers API", {
  skip,
  timeout: 300_000,
}, () => {
  const resources = new DisposeStack();
  let work: string;
  let upstream: RunningRegistry;
  let companion: CompanionService;
  let proxy: FaultProxy;
  let lazy: LazyNode;
  let pod: Pod;

  before(async () => {
    work = await mkdtemp(join(tmpdir(), "soci-companion-e2e-"));
    resources.defer(() => rm(work, { recursive: true, force: true }));
    upstream = resources.use(await startDockerRegistry());
    companion = resources.use(await startCompanionService(REGISTRY, upstream.host));
    // Between the node and the companion, to count.
    proxy = resources.use(await startFaultProxy(companion.host));
    assert.ok(newest);
    // What is fetched in the background would be counted, too.
    const config = ["[hydrate]", 'mode = "off"'];
    const options = { programs: newest, door: "auto", registryHost: proxy.host, config } as const;
    lazy = resources.use(await startLazyNode(options));
  });

  after(async () => {
    await pod?.[Symbol.asyncDispose]();
    await resources[Symbol.asyncDispose]();
  });

  test("skopeo pushes images through it, soci an index, and both and a signature are found", async () => {
    for (const image of [PAUSE, python]) {
      const { directory } = await imageLayout(image);
      const target = `docker://${companion.host}/${image.name}:v1`;
      await command("skopeo", [
        ...["copy", "--dest-tls-verify=false"],
        ...[`oci:${directory}:latest`, target],
      ]);
    }
    const reference = `${companion.host}/${python.name}:v1`;
    const builder = { root: join(work, "builder") };
    await soci(builder, "create", "--push", "--min-layer-size", "0", reference);
    const { manifest } = await imageLayout(python);
    const signature = await pushSignature(companion.host, python.name, manifest);
    const found = await referrers(companion.host, python.name, manifest.digest);
    assert.equal(found.length, 2);
    assert.equal(found.find(({ digest }) => digest === signature)?.artifactType, SIGNATURE);
    // The upstream has the image as it was, and was not made to list anything.
    const stored = await fetch(`http://${upstream.host}/v2/${python.name}/manifests/v1`, {
      headers: { accept: MANIFEST },
    });
    assert.equal(digestOf(Buffer.from(await stored.arrayBuffer())), manifest.digest);
    const tags = await fetch(`http://${upstream.host}/v2/${python.name}/tags/list`);
    assert.deepEqual(((await tags.json()) as { tags: string[] }).tags, ["v1"]);
  });

  test("a node that knows only the companion starts the image lazily", async () => {
    await lazy.watched(async () => {
      pod = await startPod(lazy.node);
      const fetched = await runImage();
      const whole = (await imageLayout(python)).layers.reduce((sum, { size }) => sum + size, 0);
      assert.ok(fetched < whole * 0.8, `${fetched} of ${whole} bytes were fetched`);
    });
    await companion.settled();
  });

  test("and does so again, from nothing, when the upstream is gone", async () => {
    await pod.removeImage(REFERENCE);
    await lazy.snapshotter?.run("gc", "--all");
    await upstream[Symbol.asyncDispose]();
    const { manifest } = await imageLayout(python);
    assert.equal((await referrers(companion.host, python.name, manifest.digest)).length, 2);
    const fetched = await lazy.watched(runImage);
    assert.ok(fetched > 1_000_000, `${fetched} bytes were fetched: the node had kept the image`);
  });

  /** Runs the image; how many bytes the node was sent for it. */
  async function runImage(): Promise<number> {
    const { bytesSent } = proxy;
    await pod.pull(REFERENCE);
    const container = await pod.create(REFERENCE, python.command);
    await container.start();
    assert.deepEqual(await container.ended(), { exitCode: 0, output: "uid 0" });
    await container.remove();
    return proxy.bytesSent - bytesSent;
  }
});

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly artifactType?: string;
}

async function referrers(
  host: string,
  repository: string,
  digest: string,
): Promise<readonly Descriptor[]> {
  const answer = await fetch(`http://${host}/v2/${repository}/referrers/${digest}`);
  assert.equal(answer.status, 200);
  return ((await answer.json()) as { manifests: Descriptor[] }).manifests;
}

/** Pushes what `cosign sign` does with the referrers API: an artifact whose layer is the signed payload. */
async function pushSignature(
  host: string,
  repository: string,
  subject: Descriptor,
): Promise<string> {
  const base = `http://${host}/v2/${repository}`;
  const put = async (bytes: Buffer, mediaType: string): Promise<Descriptor> => {
    const digest = digestOf(bytes);
    const begun = await fetch(`${base}/blobs/uploads/`, { method: "POST" });
    const place = new URL(begun.headers.get("location") ?? "", base);
    const done = await fetch(`${place.href}?digest=${digest}`, { method: "PUT", body: bytes });
    assert.equal(done.status, 201);
    return { mediaType, digest, size: bytes.length };
  };
  const payload = Buffer.from(JSON.stringify({ critical: { image: subject.digest } }));
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      artifactType: SIGNATURE,
      config: await put(Buffer.from("{}"), "application/vnd.oci.empty.v1+json"),
      layers: [await put(payload, "application/vnd.dev.cosign.simplesigning.v1+json")],
      subject: { mediaType: MANIFEST, digest: subject.digest, size: subject.size },
    }),
  );
  const digest = digestOf(manifest);
  const headers = { "content-type": MANIFEST };
  const answer = await fetch(`${base}/manifests/${digest}`, {
    method: "PUT",
    headers,
    body: manifest,
  });
  assert.equal(answer.status, 201, await answer.text());
  assert.equal(answer.headers.get("oci-subject"), subject.digest);
  return digest;
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
