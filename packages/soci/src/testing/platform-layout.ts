import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sha256 } from "@soci-ts/core";
import {
  type Descriptor,
  encodeIndex,
  type ImageIndex,
  MEDIA_TYPE_DOCKER_CONFIG,
  MEDIA_TYPE_DOCKER_LAYER_GZIP,
  MEDIA_TYPE_DOCKER_MANIFEST,
  MEDIA_TYPE_OCI_CONFIG,
  MEDIA_TYPE_OCI_INDEX,
  MEDIA_TYPE_OCI_LAYER_GZIP,
  MEDIA_TYPE_OCI_MANIFEST,
  type Platform,
} from "@soci-ts/oci";
import { buildTar, gzipLayer } from "@soci-ts/testkit";
import { fileItems } from "./fixtures.ts";

/** The media types that an image of one kind is made of. */
export interface ImageTypes {
  readonly manifest: string;
  readonly config: string;
  readonly layer: string;
}

/** What BuildKit writes. */
export const OCI_TYPES: ImageTypes = {
  manifest: MEDIA_TYPE_OCI_MANIFEST,
  config: MEDIA_TYPE_OCI_CONFIG,
  layer: MEDIA_TYPE_OCI_LAYER_GZIP,
};

/** What Docker writes. */
export const DOCKER_TYPES: ImageTypes = {
  manifest: MEDIA_TYPE_DOCKER_MANIFEST,
  config: MEDIA_TYPE_DOCKER_CONFIG,
  layer: MEDIA_TYPE_DOCKER_LAYER_GZIP,
};

/** An OCI layout to which documents are added one by one. */
export class PlatformLayout {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  /** An image of one gzip layer of about `sizeBytes`; its JSON is indented, as BuildKit's is. */
  async image(
    platform: Platform,
    types: ImageTypes = OCI_TYPES,
    sizeBytes = 40_000,
  ): Promise<Descriptor> {
    const layer = gzipLayer(await buildTar(fileItems(`etc/${platform.architecture}`, sizeBytes)));
    const blob = await this.put(types.layer, layer.blob);
    const rootfs = { type: "layers", diff_ids: [layer.diffId] };
    const config = await this.putJson(types.config, { ...platform, rootfs });
    const mediaType = types.manifest;
    const manifest = { schemaVersion: 2, mediaType, config, layers: [blob] };
    return { ...(await this.putJson(mediaType, manifest)), platform };
  }

  /** A BuildKit attestation of an image. */
  async attestation(image: Descriptor): Promise<Descriptor> {
    const mediaType = MEDIA_TYPE_OCI_MANIFEST;
    const rootfs = { type: "layers", diff_ids: [] };
    const platform = { architecture: "unknown", os: "unknown" };
    const config = await this.putJson(MEDIA_TYPE_OCI_CONFIG, { ...platform, rootfs });
    const statement = await this.putJson("application/vnd.in-toto+json", { of: image.digest });
    const manifest = { schemaVersion: 2, mediaType, config, layers: [statement] };
    const annotations = {
      "vnd.docker.reference.digest": image.digest,
      "vnd.docker.reference.type": "attestation-manifest",
    };
    return { ...(await this.putJson(mediaType, manifest)), annotations, platform };
  }

  /** Lists these in an image index, which `index.json` then names. */
  async tag(
    manifests: readonly Descriptor[],
    mediaType: string = MEDIA_TYPE_OCI_INDEX,
  ): Promise<void> {
    const index = await this.put(
      mediaType,
      encodeIndex({ schemaVersion: 2, mediaType, manifests }),
    );
    await this.name([index]);
  }

  /** Writes `index.json`. */
  async name(manifests: readonly Descriptor[]): Promise<void> {
    await writeFile(join(this.directory, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
    const index: ImageIndex = { schemaVersion: 2, manifests };
    await writeFile(join(this.directory, "index.json"), encodeIndex(index));
  }

  /** A document of the layout. */
  async read({ digest }: Pick<Descriptor, "digest">): Promise<Uint8Array> {
    return readFile(this.fileOf(digest));
  }

  /** Where a blob is. */
  fileOf(digest: string): string {
    return join(this.directory, "blobs", digest.replace(":", "/"));
  }

  /** Adds a blob. */
  async put(mediaType: string, bytes: Uint8Array): Promise<Descriptor> {
    const digest = sha256(bytes);
    await mkdir(join(this.directory, "blobs/sha256"), { recursive: true });
    await writeFile(this.fileOf(digest), bytes);
    return { mediaType, digest, size: bytes.length };
  }

  /** Adds a document, indented. */
  async putJson(mediaType: string, value: object): Promise<Descriptor> {
    return this.put(mediaType, Buffer.from(JSON.stringify(value, undefined, 2)));
  }
}
