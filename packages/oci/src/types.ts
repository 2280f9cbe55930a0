import type { Digest } from "@soci-ts/core";

/** Annotations: short texts by key. */
export type Annotations = Readonly<Record<string, string>>;

/** What a blob or manifest is run on (image-spec v1.1.1, image-index.md §platform). */
export interface Platform {
  /** As Go spells it: `amd64`, `arm64`, … */
  readonly architecture: string;
  /** As Go spells it: `linux`, … */
  readonly os: string;
  readonly "os.version"?: string | undefined;
  readonly "os.features"?: readonly string[] | undefined;
  /** Variant of the CPU, for example `v7`. */
  readonly variant?: string | undefined;
}

/** Names content by type, digest and size (image-spec v1.1.1, descriptor.md). */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Length in bytes. */
  readonly size: number;
  readonly urls?: readonly string[] | undefined;
  readonly annotations?: Annotations | undefined;
  /** The content itself, in base64 (RFC 4648 §4). Not checked against `digest` here. */
  readonly data?: string | undefined;
  readonly platform?: Platform | undefined;
  readonly artifactType?: string | undefined;
}

/** An image of one platform, or an artifact such as a SOCI index (image-spec v1.1.1, manifest.md). */
export interface Manifest {
  readonly schemaVersion: 2;
  readonly mediaType?: string | undefined;
  readonly artifactType?: string | undefined;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly subject?: Descriptor | undefined;
  readonly annotations?: Annotations | undefined;
}

/** A list of manifests (image-spec v1.1.1, image-index.md). */
export interface ImageIndex {
  readonly schemaVersion: 2;
  readonly mediaType?: string | undefined;
  readonly artifactType?: string | undefined;
  readonly manifests: readonly Descriptor[];
  readonly subject?: Descriptor | undefined;
  readonly annotations?: Annotations | undefined;
}

/** What a registry's manifest endpoint can hold, told apart by `kind`. */
export type ParsedManifest =
  | { readonly kind: "manifest"; readonly manifest: Manifest; readonly mediaType: string }
  | { readonly kind: "index"; readonly index: ImageIndex; readonly mediaType: string };
