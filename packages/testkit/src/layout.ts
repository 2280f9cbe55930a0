import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

/** A layer's blob and what a manifest has to say of it. */
export interface BuiltLayerBlob {
  readonly mediaType: string;
  readonly blob: Uint8Array;
  readonly diffId: string;
}

/** A descriptor as this package writes it. */
export interface LayoutDescriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** An image in an OCI layout folder. */
export interface BuiltImage {
  readonly directory: string;
  readonly manifest: LayoutDescriptor;
  readonly config: LayoutDescriptor;
  readonly layers: readonly LayoutDescriptor[];
}

const LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip";
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";

/** A gzip layer made of a tar, as one deflate stream. */
export function gzipLayer(tar: Uint8Array, level = 6): BuiltLayerBlob {
  return { mediaType: LAYER_GZIP, blob: gzipSync(tar, { level }), diffId: digest(tar) };
}

/** A layer with a blob and media type of the caller's choice. */
export function layerOf(tar: Uint8Array, blob: Uint8Array, mediaType: string): BuiltLayerBlob {
  return { mediaType, blob, diffId: digest(tar) };
}

/** A layer whose blob is in the layout already. */
export interface PlacedLayer {
  readonly descriptor: LayoutDescriptor;
  readonly diffId: string;
}

/** What an image runs when nothing else is asked of it. */
export interface ImageRunConfig {
  readonly entrypoint?: readonly string[];
  /** `NAME=value`; PATH is always there. */
  readonly env?: readonly string[];
}

/** Writes an image with these layers (bottom first) as an OCI layout, tagged `latest`. */
export async function writeLayout(
  directory: string,
  layers: readonly BuiltLayerBlob[],
  run: ImageRunConfig = {},
): Promise<BuiltImage> {
  await mkdir(join(directory, "blobs/sha256"), { recursive: true });
  const placed: PlacedLayer[] = [];
  for (const { mediaType, blob, diffId } of layers) {
    placed.push({ descriptor: await put(directory, mediaType, blob), diffId });
  }
  return writeImage(directory, placed, run);
}

/** Writes config, manifest and index of a layout that holds the layers' blobs. */
export async function writeImage(
  directory: string,
  layers: readonly PlacedLayer[],
  run: ImageRunConfig = {},
): Promise<BuiltImage> {
  const descriptors = layers.map(({ descriptor }) => descriptor);
  const config = await put(
    directory,
    "application/vnd.oci.image.config.v1+json",
    json({
      architecture: process.arch === "x64" ? "amd64" : process.arch,
      os: "linux",
      config: {
        Env: ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", ...(run.env ?? [])],
        Entrypoint: run.entrypoint,
      },
      rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
    }),
  );
  const manifest = await put(
    directory,
    MANIFEST,
    json({ schemaVersion: 2, mediaType: MANIFEST, config, layers: descriptors }),
  );
  await writeFile(join(directory, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(
    join(directory, "index.json"),
    json({
      schemaVersion: 2,
      manifests: [{ ...manifest, annotations: { "org.opencontainers.image.ref.name": "latest" } }],
    }),
  );
  return { directory, manifest, config, layers: descriptors };
}

/** A blob of a layout. */
export async function readLayoutBlob(directory: string, blobDigest: string): Promise<Uint8Array> {
  return readFile(join(directory, "blobs", blobDigest.replace(":", "/")));
}

/** Pushes a layout's image to a registry with plain HTTP requests: a client that shares no code with ours. */
export async function pushLayout(
  image: BuiltImage,
  host: string,
  repository: string,
  tag: string,
): Promise<void> {
  const base = `http://${host}/v2/${repository}`;
  for (const descriptor of [...image.layers, image.config]) {
    const started = await must(await fetch(`${base}/blobs/uploads/`, { method: "POST" }), 202);
    const location = new URL(started.headers.get("location") ?? "", base);
    location.searchParams.set("digest", descriptor.digest);
    const body = await readLayoutBlob(image.directory, descriptor.digest);
    await must(
      await fetch(location, {
        method: "PUT",
        headers: { "content-type": "application/octet-stream" },
        body,
      }),
      201,
    );
  }
  const body = await readLayoutBlob(image.directory, image.manifest.digest);
  await must(
    await fetch(`${base}/manifests/${tag}`, {
      method: "PUT",
      headers: { "content-type": image.manifest.mediaType },
      body,
    }),
    201,
  );
}

async function must(response: Response, status: number): Promise<Response> {
  if (response.status === status) {
    await response.arrayBuffer();
    return response;
  }
  throw new Error(`${response.url} answered ${response.status}: ${await response.text()}`);
}

async function put(
  directory: string,
  mediaType: string,
  bytes: Uint8Array,
): Promise<LayoutDescriptor> {
  const blobDigest = digest(bytes);
  await writeFile(join(directory, "blobs", blobDigest.replace(":", "/")), bytes);
  return { mediaType, digest: blobDigest, size: bytes.length };
}

function digest(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}
