// After create and push, the image in the registry is what it was: manifest and layers byte for byte, and a signature that was
// attached before is still listed and still verifies. Against a registry with the referrers API and one without.
import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, type KeyObject, sign, verify } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  type BuiltImage,
  buildTar,
  gzipLayer,
  hasProgram,
  pushLayout,
  type RunningRegistry,
  readLayoutBlob,
  seededBytes,
  startDockerRegistry,
  startEmbeddedRegistry,
  writeLayout,
} from "@soci-ts/testkit";
import { soci } from "./soci-command.ts";

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const INDEX = "application/vnd.oci.image.index.v1+json";
const SIGNATURE_TYPE = "application/vnd.dev.cosign.artifact.sig.v1+json";
const PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE_KEY = "dev.cosignproject.cosign/signature";
const REPOSITORY = "team/app";

interface Listed {
  readonly manifests: readonly { readonly digest: string; readonly artifactType?: string }[];
}

interface SignatureManifest {
  readonly layers: readonly {
    readonly digest: string;
    readonly annotations: Record<string, string>;
  }[];
}

const REGISTRIES = {
  "with the referrers API": { start: startEmbeddedRegistry, skip: false },
  "without the referrers API (docker-registry)": {
    start: startDockerRegistry,
    skip: hasProgram("docker-registry") ? false : "not installed: docker-registry",
  },
} as const;

for (const [name, { start, skip }] of Object.entries(REGISTRIES)) {
  describe(`an image in a registry ${name}`, { skip }, () => {
    const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
    let work: string;
    let registry: RunningRegistry;
    let image: BuiltImage;
    let base: string;

    before(async () => {
      work = await mkdtemp(join(tmpdir(), "soci-unaltered-"));
      registry = await start();
      base = `http://${registry.host}/v2/${REPOSITORY}`;
      const tars = await Promise.all(
        [1, 2].map((seed) =>
          buildTar([{ name: `file-${seed}`, content: seededBytes(900_000, seed) }]),
        ),
      );
      image = await writeLayout(
        join(work, "layout"),
        tars.map((tar) => gzipLayer(tar)),
      );
      await pushLayout(image, registry.host, REPOSITORY, "v1");
      await attachSignature(keys.privateKey);
    });

    after(async () => {
      await registry?.[Symbol.asyncDispose]();
      if (work !== undefined) await rm(work, { recursive: true, force: true });
    });

    test("is byte-identical after create and push, its signature listed and valid", async () => {
      await soci(
        { root: join(work, "store") },
        "create",
        "--push",
        "--min-layer-size",
        "0",
        `${registry.host}/${REPOSITORY}:v1`,
      );

      const manifest = await bytesOf(`${base}/manifests/v1`, MANIFEST);
      assert.deepEqual(
        manifest,
        Buffer.from(await readLayoutBlob(image.directory, image.manifest.digest)),
      );
      for (const layer of [...image.layers, image.config]) {
        const blob = await bytesOf(`${base}/blobs/${layer.digest}`, "*/*");
        assert.deepEqual(blob, Buffer.from(await readLayoutBlob(image.directory, layer.digest)));
      }

      const listed = await referrers();
      const types = listed.manifests.map(({ artifactType }) => artifactType).sort();
      assert.deepEqual(types, ["application/vnd.amazon.soci.index.v1+json", SIGNATURE_TYPE]);
      const signature = listed.manifests.find(
        ({ artifactType }) => artifactType === SIGNATURE_TYPE,
      );
      await checkSignature(keys.publicKey, signature?.digest ?? "");
      await checkSignature(keys.publicKey, `${image.manifest.digest.replace(":", "-")}.sig`);
    });

    /** A signature as cosign attaches it: under its tag, and as a referrer (through the referrers tag where there is no API). */
    async function attachSignature(key: KeyObject): Promise<void> {
      const payload = Buffer.from(
        JSON.stringify({
          critical: {
            identity: { "docker-reference": REPOSITORY },
            image: { "docker-manifest-digest": image.manifest.digest },
            type: "cosign container image signature",
          },
          optional: null,
        }),
      );
      const config = Buffer.from("{}");
      await putBlob(payload);
      await putBlob(config);
      const manifest = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: MANIFEST,
          artifactType: SIGNATURE_TYPE,
          config: { mediaType: SIGNATURE_TYPE, digest: digestOf(config), size: config.length },
          layers: [
            {
              mediaType: PAYLOAD_TYPE,
              digest: digestOf(payload),
              size: payload.length,
              annotations: { [SIGNATURE_KEY]: sign("sha256", payload, key).toString("base64") },
            },
          ],
          subject: image.manifest,
        }),
      );
      await putManifest(`${image.manifest.digest.replace(":", "-")}.sig`, MANIFEST, manifest);
      const answer = await putManifest(digestOf(manifest), MANIFEST, manifest);
      if (answer.headers.get("oci-subject") !== null) return;
      const entry = {
        mediaType: MANIFEST,
        digest: digestOf(manifest),
        size: manifest.length,
        artifactType: SIGNATURE_TYPE,
      };
      const list = Buffer.from(
        JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: [entry] }),
      );
      await putManifest(image.manifest.digest.replace(":", "-"), INDEX, list);
    }

    async function checkSignature(key: KeyObject, signatureReference: string): Promise<void> {
      const manifest = JSON.parse(
        String(await bytesOf(`${base}/manifests/${signatureReference}`, MANIFEST)),
      ) as SignatureManifest;
      const [layer] = manifest.layers;
      const payload = await bytesOf(`${base}/blobs/${layer?.digest}`, "*/*");
      const signature = Buffer.from(layer?.annotations[SIGNATURE_KEY] ?? "", "base64");
      assert.ok(verify("sha256", payload, key, signature));
      const { critical } = JSON.parse(String(payload)) as {
        critical: { image: Record<string, string> };
      };
      const current = await fetch(`${base}/manifests/v1`, {
        method: "HEAD",
        headers: { accept: MANIFEST },
      });
      assert.equal(
        critical.image["docker-manifest-digest"],
        current.headers.get("docker-content-digest"),
      );
    }

    async function referrers(): Promise<Listed> {
      const answer = await fetch(`${base}/referrers/${image.manifest.digest}`);
      if (answer.ok) return (await answer.json()) as Listed;
      await answer.arrayBuffer();
      const tag = image.manifest.digest.replace(":", "-");
      return JSON.parse(String(await bytesOf(`${base}/manifests/${tag}`, INDEX))) as Listed;
    }

    async function putBlob(bytes: Buffer): Promise<void> {
      const started = await fetch(`${base}/blobs/uploads/`, { method: "POST" });
      await started.arrayBuffer();
      const location = new URL(started.headers.get("location") ?? "", base);
      location.searchParams.set("digest", digestOf(bytes));
      const answer = await fetch(location, {
        method: "PUT",
        headers: { "content-type": "application/octet-stream" },
        body: bytes,
      });
      assert.equal(answer.status, 201, await answer.text());
    }

    async function putManifest(where: string, type: string, bytes: Buffer): Promise<Response> {
      const answer = await fetch(`${base}/manifests/${where}`, {
        method: "PUT",
        headers: { "content-type": type },
        body: bytes,
      });
      assert.equal(answer.status, 201, await answer.text());
      return answer;
    }
  });
}

async function bytesOf(url: string, accept: string): Promise<Buffer> {
  const answer = await fetch(url, { headers: { accept } });
  assert.equal(answer.status, 200, url);
  return Buffer.from(await answer.arrayBuffer());
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
