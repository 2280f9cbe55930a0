import type { RegistryHandler } from "../access/guard.ts";
import { noBody, type RegistryRequest, type RegistryResponse } from "../http.ts";
import { discard } from "./relay.ts";
import type { Visit } from "./visit.ts";

/** A request to our own registry besides the client's. */
export interface LocalRequest {
  readonly method: string;
  /** Path within the repository, with its query: `blobs/sha256:…`. */
  readonly path: string;
  readonly headers?: RegistryRequest["headers"];
  readonly body?: AsyncIterable<Uint8Array>;
}

/** Our own registry as the clients of an upstream see it: each upstream's repositories are in a room of their own. */
export class LocalRegistry {
  readonly #registry: RegistryHandler;

  constructor(registry: RegistryHandler) {
    this.#registry = registry;
  }

  /** Answers the client's own request. */
  async handle(
    visit: Visit,
    body: AsyncIterable<Uint8Array> = visit.request.body,
  ): Promise<RegistryResponse> {
    const { request, upstream, target } = visit;
    const url = `/v2/${upstream.room}/${target.slice("/v2/".length)}`;
    return stripped(visit, await this.#registry.handle({ ...request, url, body }));
  }

  /** Answers another request for the same repository. */
  async ask(visit: Visit, request: LocalRequest): Promise<RegistryResponse> {
    const { upstream, repository } = visit;
    const { method, path, headers = {}, body = noBody() } = request;
    const url = `/v2/${upstream.room}/${repository}/${path}`;
    return stripped(visit, await this.#registry.handle({ method, url, headers, body }));
  }

  /** True if the repository has the manifest or blob at `path`, for example `manifests/v1`. */
  async has(visit: Visit, path: string): Promise<boolean> {
    const found = await this.ask(visit, { method: "HEAD", path });
    discard(found);
    return found.status === 200;
  }
}

function stripped({ upstream }: Visit, response: RegistryResponse): RegistryResponse {
  const { Location, Link } = response.headers;
  const strip = (text: string): string => text.replace(`/v2/${upstream.room}/`, "/v2/");
  return {
    ...response,
    headers: {
      ...response.headers,
      ...(Location !== undefined && { Location: strip(Location) }),
      ...(Link !== undefined && { Link: strip(Link) }),
    },
  };
}
