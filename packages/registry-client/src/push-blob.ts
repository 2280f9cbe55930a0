import { AppError, type IoOptions } from "@soci-ts/core";
import type { Descriptor, RepositoryName } from "@soci-ts/oci";
import { blobExists } from "./blobs.ts";
import { RegistryError, TransportError } from "./errors.ts";
import { headerValue, numberHeader, parseUploadRange, type ResponseHeaders } from "./headers.ts";
import { MAX_UPLOAD_CHUNK_BYTES, UPLOAD_CHUNK_BYTES } from "./limits.ts";
import type { RegistryHost, RegistryRequest } from "./registry-host.ts";
import { Backoff, type RetryPolicy } from "./retry.ts";
import { UploadContent } from "./upload-content.ts";

/** A blob's bytes, or how to read them from the start (again, if an upload must be begun anew). */
export type BlobContent = Uint8Array | (() => AsyncIterable<Uint8Array>);

/** How a blob is pushed. */
export interface PushBlobOptions extends IoOptions {
  /** A repository of the same registry that may have the blob: then nothing is sent. */
  readonly mountFrom?: string | undefined;
}

/** How a blob got into the repository. */
export interface PushedBlob {
  readonly outcome: "existed" | "mounted" | "pushed";
}

/** An upload session: where its next request goes. */
interface Upload {
  readonly url: URL;
  readonly chunkBytes: number;
}

/**
 * Puts a blob into a repository unless it is there: mounts it from another one, or sends it, in one piece if it is small,
 * else in chunks. After a failure the registry is asked how much it has, and the upload goes on there; where that is
 * not to be had it begins anew. (distribution-spec v1.1.1, §Pushing blobs.) The registry checks the digest.
 */
class BlobPusher {
  readonly #registry: RegistryHost;
  readonly #retry: RetryPolicy;
  readonly #repository: string;
  readonly #descriptor: Descriptor;
  readonly #signal: AbortSignal | undefined;
  #furthest = 0;

  constructor(
    registry: RegistryHost,
    retry: RetryPolicy,
    blob: {
      readonly repository: string;
      readonly descriptor: Descriptor;
      readonly signal?: AbortSignal | undefined;
    },
  ) {
    this.#registry = registry;
    this.#retry = retry;
    this.#repository = blob.repository;
    this.#descriptor = blob.descriptor;
    this.#signal = blob.signal;
  }

  /** @throws AppError `invalid_argument` if the content has another length than the descriptor says. */
  async push(content: BlobContent, mountFrom: string | undefined): Promise<PushedBlob> {
    if (await this.#exists()) return { outcome: "existed" };
    await using source = new UploadContent(content, this.#descriptor);
    const backoff = new Backoff(this.#retry);
    let upload = await this.#start(mountFrom);
    if (upload === undefined) return { outcome: "mounted" };
    for (;;) {
      try {
        await this.#send(upload, source, backoff);
        return { outcome: "pushed" };
      } catch (error) {
        await backoff.wait(asRepeatable(error), "always", this.#signal);
        // The last request may have been done although its answer was lost.
        if (await this.#exists()) return { outcome: "pushed" };
        upload = await this.#startPlain();
      }
    }
  }

  #exists(): Promise<boolean> {
    const { digest } = this.#descriptor;
    const options = { signal: this.#signal, scopes: this.#scopes() };
    return blobExists(this.#registry, this.#repository, digest, options);
  }

  /** A new session; undefined if the registry mounted the blob instead. */
  async #start(mountFrom: string | undefined): Promise<Upload | undefined> {
    if (mountFrom === undefined || mountFrom === this.#repository) return this.#startPlain();
    const query = new URLSearchParams({ mount: this.#descriptor.digest, from: mountFrom });
    const { status, upload } = await this.#post(`?${query}`, [201, 202], this.#scopes(mountFrom));
    return status === 201 ? undefined : this.#checked(upload);
  }

  async #startPlain(): Promise<Upload> {
    return this.#checked((await this.#post("", [202], this.#scopes())).upload);
  }

  /** Repeated freely: a session that nobody uses costs the registry nothing and expires. */
  #post(
    query: string,
    expect: readonly number[],
    scopes: readonly string[],
  ): Promise<{ status: number; upload: Upload | undefined }> {
    const target = `/v2/${this.#repository}/blobs/uploads/${query}`;
    const request = {
      ...this.#request("POST", target, expect),
      scopes,
      headers: { "content-length": "0" },
    };
    return this.#registry.exchange(request, (answer) => {
      const upload =
        answer.status === 202 ? this.#nextUpload(answer.headers, answer.url) : undefined;
      return { status: answer.status, upload };
    });
  }

  #checked(upload: Upload | undefined): Upload {
    if (upload !== undefined) return upload;
    throw new AppError(
      "data_loss",
      `Cannot ${this.#action}: the registry names no upload, want a Location`,
    );
  }

  /** Sends the content from where the upload is; failures inside a chunk are mended here, others end it. */
  async #send(first: Upload, source: UploadContent, backoff: Backoff): Promise<void> {
    const { size } = this.#descriptor;
    if (size <= first.chunkBytes) {
      const body = await source.read(0, size);
      await source.verifyEnd();
      await this.#finish(first, body);
      return;
    }
    let upload = first;
    let at = 0;
    while (at < size) {
      const chunk = await source.read(at, Math.min(upload.chunkBytes, size - at));
      try {
        upload = await this.#patch(upload, at, chunk);
        at += chunk.length;
        // Only new ground counts as progress: a registry that loses what it took would keep us busy for ever.
        if (at > this.#furthest) backoff.reset();
        this.#furthest = Math.max(this.#furthest, at);
      } catch (error) {
        await backoff.wait(asRepeatable(error), "always", this.#signal);
        const state = await this.#askState(upload);
        upload = state.upload;
        if (state.received > size) throw this.#confused(state.received);
        at = state.received;
      }
    }
    await source.verifyEnd();
    await this.#finish(upload, new Uint8Array());
  }

  async #patch(upload: Upload, at: number, chunk: Uint8Array): Promise<Upload> {
    const request: RegistryRequest = {
      ...this.#request("PATCH", upload.url, [202, 204]),
      repeatable: "never",
      headers: {
        "content-type": "application/octet-stream",
        "content-range": `${at}-${at + chunk.length - 1}`,
      },
      body: chunk,
    };
    return this.#registry.exchange(request, ({ headers, url }) => {
      const received = parseUploadRange(headerValue(headers, "range"));
      const wanted = at + chunk.length;
      // A registry that tells nothing has all of it; one that tells less lost some.
      if (headers["range"] !== undefined && received !== wanted) throw this.#confused(received);
      return this.#nextUpload(headers, url) ?? upload;
    });
  }

  async #askState(upload: Upload): Promise<{ upload: Upload; received: number }> {
    return this.#registry.exchange(this.#request("GET", upload.url, [204]), ({ headers, url }) => {
      const received = parseUploadRange(headerValue(headers, "range"));
      if (received === undefined) throw this.#confused(received);
      return { upload: this.#nextUpload(headers, url) ?? upload, received };
    });
  }

  async #finish(upload: Upload, body: Uint8Array): Promise<void> {
    const { digest } = this.#descriptor;
    const url = new URL(upload.url);
    // Appended as text: the rest of the query is the registry's and must stay as it is.
    url.search = `${url.search === "" ? "?" : `${url.search}&`}digest=${encodeURIComponent(digest)}`;
    const headers = { "content-type": "application/octet-stream" };
    const request = {
      ...this.#request("PUT", url, [201, 204]),
      headers,
      body,
      repeatable: "never",
    } as const;
    await this.#registry.exchange(request, () => {});
  }

  #nextUpload(headers: ResponseHeaders, from: URL): Upload | undefined {
    const location = headerValue(headers, "location");
    if (location === undefined) return undefined;
    const wanted = numberHeader(headers, "oci-chunk-min-length") ?? 0;
    if (wanted > MAX_UPLOAD_CHUNK_BYTES) {
      throw new AppError(
        "unimplemented",
        `Cannot ${this.#action}: the registry wants chunks of ${wanted} bytes, want at most ${MAX_UPLOAD_CHUNK_BYTES}`,
      );
    }
    const url = this.#registry.checkTarget(location, from, this.#action);
    return { url, chunkBytes: Math.max(wanted, UPLOAD_CHUNK_BYTES) };
  }

  /** Worth a new upload: the registry and we do not agree on what it has. */
  #confused(received: number | undefined): TransportError {
    const text = `Cannot ${this.#action}: the registry says it has ${received ?? "an unknown number of"} bytes, want what was sent`;
    return new TransportError("data_loss", text, { sent: true });
  }

  #request(
    method: RegistryRequest["method"],
    target: string | URL,
    expect: readonly number[],
  ): RegistryRequest {
    return {
      action: this.#action,
      method,
      target,
      expect,
      repository: this.#repository,
      scopes: this.#scopes(),
      signal: this.#signal,
    };
  }

  #scopes(mountFrom?: string): readonly string[] {
    const own = `repository:${this.#repository}:pull,push`;
    return mountFrom === undefined ? [own] : [own, `repository:${mountFrom}:pull`];
  }

  get #action(): string {
    return `push blob ${this.#descriptor.digest} to ${this.#registry.name}/${this.#repository}`;
  }
}

/** Puts a blob into a repository unless it is there. See {@link PushBlobOptions}. */
export function pushBlob(
  registry: RegistryHost,
  retry: RetryPolicy,
  blob: RepositoryName & { readonly descriptor: Descriptor; readonly content: BlobContent },
  options: PushBlobOptions = {},
): Promise<PushedBlob> {
  const { repository, descriptor, content } = blob;
  const pusher = new BlobPusher(registry, retry, {
    repository,
    descriptor,
    signal: options.signal,
  });
  return pusher.push(content, options.mountFrom);
}

/** 404 (the session is gone) and 416 (another offset) are mended by asking, or by a new session. */
function asRepeatable(error: unknown): unknown {
  if (!(error instanceof RegistryError) || (error.status !== 404 && error.status !== 416))
    return error;
  return new TransportError(error.code, error.message, { sent: true, cause: error });
}
