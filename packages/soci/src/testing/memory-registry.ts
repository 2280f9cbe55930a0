import { AppError, bytesSource, concatBytes, type Digest, sha256 } from "@soci-ts/core";
import { type Descriptor, parseManifest, type Reference, type RepositoryName } from "@soci-ts/oci";
import type { IndexReader } from "../find-index.ts";
import type { ImageWriter } from "../image-target.ts";
import type { IndexPusher } from "../push-index.ts";

type Client = IndexPusher & IndexReader & ImageWriter;

/** One repository of a registry in memory: enough of the client for this package, with switches for faults. */
export class MemoryRegistry {
  readonly manifests: Map<string, { mediaType: string; bytes: Uint8Array }> = new Map();
  readonly tags: Map<string, string> = new Map();
  readonly blobs: Map<string, Uint8Array> = new Map();
  /** What was written, in order: `blob DIGEST`, `manifest DIGEST`. */
  readonly writes: string[] = [];
  /** Thrown by the named method instead of an answer. */
  readonly faults: Map<keyof Client, Error> = new Map();
  /** What `listReferrers` says, whatever there is; in this order. */
  referrers: Descriptor[] | undefined;
  subjectHandled = true;

  /** The client's side. */
  readonly client: Client = {
    fetchManifest: async (reference) => this.#fetchManifest(reference),
    fetchBlob: async (_repository, descriptor) => {
      this.#fail("fetchBlob");
      return this.#blob(descriptor.digest);
    },
    openBlob: (_repository, descriptor) => this.#openBlob(descriptor),
    pushBlob: async (_repository, descriptor, content) => {
      this.#fail("pushBlob");
      if (this.blobs.has(descriptor.digest)) return { outcome: "existed" };
      const pieces: Uint8Array[] = [];
      if (typeof content !== "function") pieces.push(content);
      else for await (const piece of content()) pieces.push(piece);
      this.writes.push(`blob ${this.putBlob(concatBytes(pieces))}`);
      return { outcome: "pushed" };
    },
    pushReferrer: async (_repository, mediaType, bytes) => {
      this.#fail("pushReferrer");
      this.writes.push(`manifest ${sha256(bytes)}`);
      return {
        descriptor: this.putManifest(bytes, mediaType),
        subjectHandled: this.subjectHandled,
      };
    },
    pushManifest: async ({ tag }, mediaType, bytes) => {
      this.#fail("pushManifest");
      this.writes.push(`manifest ${tag ?? sha256(bytes)}`);
      return { descriptor: this.putManifest(bytes, mediaType, tag), subjectHandled: false };
    },
    listReferrers: async (repository, digest, options) =>
      this.#listReferrers(repository, digest, options?.artifactType),
  };

  /** Puts a manifest there, as another client would. */
  putManifest(bytes: Uint8Array, mediaType: string, tag?: string): Descriptor {
    const digest = sha256(bytes);
    this.manifests.set(digest, { mediaType, bytes });
    if (tag !== undefined) this.tags.set(tag, digest);
    return { mediaType, digest, size: bytes.length };
  }

  /** Puts a blob there. */
  putBlob(bytes: Uint8Array): Digest {
    const digest = sha256(bytes);
    this.blobs.set(digest, bytes);
    return digest;
  }

  #fail(method: keyof Client): void {
    const fault = this.faults.get(method);
    if (fault !== undefined) throw fault;
  }

  #fetchManifest(reference: Reference): { descriptor: Descriptor; bytes: Uint8Array } {
    this.#fail("fetchManifest");
    const digest = reference.digest ?? this.tags.get(reference.tag ?? "latest");
    const found = digest === undefined ? undefined : this.manifests.get(digest);
    if (found === undefined)
      throw new AppError("not_found", "Cannot fetch manifest: there is none");
    const { mediaType, bytes } = found;
    return { bytes, descriptor: { mediaType, digest: digest as Digest, size: bytes.length } };
  }

  #openBlob(descriptor: Descriptor): ReturnType<IndexPusher["openBlob"]> {
    const read = (): Uint8Array => {
      this.#fail("openBlob");
      return this.#blob(descriptor.digest);
    };
    return {
      size: descriptor.size,
      readAt: async (offset, length) => bytesSource(read()).readAt(offset, length),
      async *stream(start, end) {
        yield read().subarray(start, end);
      },
      distrust: () => {},
    };
  }

  #blob(digest: string): Uint8Array {
    const bytes = this.blobs.get(digest);
    if (bytes === undefined) throw new AppError("not_found", `Cannot read blob ${digest}`);
    return bytes;
  }

  #listReferrers(_repository: RepositoryName, digest: Digest, artifactType?: string): Descriptor[] {
    this.#fail("listReferrers");
    if (this.referrers !== undefined) return this.referrers;
    const found: Descriptor[] = [];
    for (const [key, { mediaType, bytes }] of this.manifests) {
      const document = parseManifest(bytes, mediaType);
      if (document.kind !== "manifest" || document.manifest.subject?.digest !== digest) continue;
      const type = document.manifest.artifactType ?? document.manifest.config.mediaType;
      if (artifactType !== undefined && type !== artifactType) continue;
      found.push({ mediaType, digest: key as Digest, size: bytes.length, artifactType: type });
    }
    return found;
  }
}
