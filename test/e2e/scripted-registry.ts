import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { BuiltLayerBlob, LayoutDescriptor } from "@soci-ts/testkit";

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const INDEX = "application/vnd.oci.image.index.v1+json";
const CONFIG = "application/vnd.oci.image.config.v1+json";
const SOCI_INDEX = "application/vnd.amazon.soci.index.v1+json";
const ZTOC = "application/octet-stream";

/** An image in a {@link ScriptedRegistry}. */
export interface ScriptedImage {
  readonly reference: string;
  readonly manifest: LayoutDescriptor;
  readonly layers: readonly LayoutDescriptor[];
}

/** What an image is made of, where it is not what it should be. */
export interface ScriptedParts {
  /** In place of the layers' own. */
  readonly diffIds?: readonly string[];
  readonly config?: Uint8Array;
  readonly manifest?: Uint8Array;
  /** In place of the descriptors of the layers. */
  readonly layers?: readonly LayoutDescriptor[];
}

/** A registry in this process that says whatever a test wants: nothing of what is put into it is checked. */
export class ScriptedRegistry implements AsyncDisposable {
  readonly #server: Server;
  readonly #blobs = new Map<string, Uint8Array>();
  readonly #manifests = new Map<string, { readonly type: string; readonly bytes: Uint8Array }>();
  readonly #referrers = new Map<string, object[]>();

  private constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  static async start(): Promise<ScriptedRegistry> {
    const registry = new ScriptedRegistry();
    registry.#server.listen(0, "127.0.0.1");
    await once(registry.#server, "listening");
    return registry;
  }

  get host(): string {
    const address = this.#server.address();
    return `127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
  }

  /** @param named - the digest that it goes by, if that is not its own. */
  putBlob(bytes: Uint8Array, mediaType: string, named: string = digestOf(bytes)): LayoutDescriptor {
    this.#blobs.set(named, bytes);
    return { mediaType, digest: named, size: bytes.length };
  }

  putManifest(name: string, bytes: Uint8Array, type: string = MANIFEST): LayoutDescriptor {
    const descriptor = { mediaType: type, digest: digestOf(bytes), size: bytes.length };
    for (const key of [name, descriptor.digest]) this.#manifests.set(key, { type, bytes });
    return descriptor;
  }

  /** An image under a tag, which no other image equals, with whatever parts are given in place of the right ones. */
  putImage(
    tag: string,
    layers: readonly BuiltLayerBlob[],
    parts: ScriptedParts = {},
  ): ScriptedImage {
    const own = layers.map(({ blob, mediaType }) => this.putBlob(blob, mediaType));
    const rootfs = {
      type: "layers",
      diff_ids: parts.diffIds ?? layers.map(({ diffId }) => diffId),
    };
    const architecture = process.arch === "x64" ? "amd64" : process.arch;
    const config = parts.config ?? json({ author: tag, architecture, os: "linux", rootfs });
    const descriptors = parts.layers ?? own;
    const manifest = parts.manifest ?? {
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: this.putBlob(config, CONFIG),
      layers: descriptors,
    };
    const bytes = manifest instanceof Uint8Array ? manifest : json(manifest);
    return {
      reference: `${this.host}/hostile:${tag}`,
      manifest: this.putManifest(tag, bytes),
      layers: descriptors,
    };
  }

  /** A SOCI index of an image, with these bytes as ztocs (or what is said to be them) of its layers. */
  putIndex(
    image: ScriptedImage,
    ztocs: readonly (Uint8Array | LayoutDescriptor)[],
    options: { readonly subject?: LayoutDescriptor; readonly layers?: readonly string[] } = {},
  ): LayoutDescriptor {
    const layers = ztocs.map((ztoc, at) => ({
      ...(ztoc instanceof Uint8Array ? this.putBlob(ztoc, ZTOC) : ztoc),
      annotations: {
        "com.amazon.soci.image-layer-digest": options.layers?.[at] ?? image.layers[at]?.digest,
        "com.amazon.soci.image-layer-mediaType": image.layers[at]?.mediaType,
        "com.amazon.soci.span-size": "65536",
      },
    }));
    const config = { ...this.putBlob(Buffer.from("{}"), SOCI_INDEX), mediaType: SOCI_INDEX };
    const subject = options.subject ?? image.manifest;
    const bytes = json({ schemaVersion: 2, mediaType: MANIFEST, config, layers, subject });
    return this.putReferrer(image, bytes);
  }

  /** Anything that is listed as a SOCI index of an image. */
  putReferrer({ manifest }: ScriptedImage, bytes: Uint8Array): LayoutDescriptor {
    const descriptor = this.putManifest(digestOf(bytes), bytes);
    const listed = { ...descriptor, artifactType: SOCI_INDEX };
    this.#referrers.set(manifest.digest, [...(this.#referrers.get(manifest.digest) ?? []), listed]);
    return descriptor;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const [, kind, name] = /\/(manifests|blobs|referrers)\/([^/?]+)/.exec(request.url ?? "") ?? [];
    if (kind === undefined || name === undefined) response.writeHead(200).end("{}");
    else if (kind === "referrers") this.#answerReferrers(name, response);
    else if (kind === "manifests") {
      const found = this.#manifests.get(name);
      if (found === undefined) response.writeHead(404).end("{}");
      else response.writeHead(200, { "content-type": found.type }).end(found.bytes);
    } else sendBlob(this.#blobs.get(name), request.headers.range, response);
  }

  #answerReferrers(name: string, response: ServerResponse): void {
    const manifests = this.#referrers.get(name) ?? [];
    const body = json({ schemaVersion: 2, mediaType: INDEX, manifests });
    response.writeHead(200, { "content-type": INDEX }).end(body);
  }
}

/** The digest that is right for bytes. */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

function sendBlob(
  bytes: Uint8Array | undefined,
  range: string | undefined,
  response: ServerResponse,
): void {
  if (bytes === undefined) {
    response.writeHead(404).end("{}");
    return;
  }
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
  if (from === undefined) {
    response.writeHead(200, { "content-length": bytes.length }).end(bytes);
    return;
  }
  const part = bytes.subarray(Number(from), Number(to) + 1);
  const last = Number(from) + part.length - 1;
  const headers = {
    "content-length": part.length,
    "content-range": `bytes ${from}-${last}/${bytes.length}`,
  };
  response.writeHead(206, headers).end(part);
}

function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}
