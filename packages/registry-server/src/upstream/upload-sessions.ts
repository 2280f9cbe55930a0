import { randomUUID } from "node:crypto";
import type { RawAnswer, RawRequest } from "@soci-ts/registry-client";
import { contentLengthOf, noBody, type RegistryResponse } from "../http.ts";
import { isRepositoryName } from "../route.ts";
import { whole } from "../uploads.ts";
import type { ReadDeps } from "./blob-reads.ts";
import { MAX_SESSIONS } from "./limits.ts";
import type { LocalRegistry } from "./local.ts";
import type { Passes } from "./passes.ts";
import { isRefusal } from "./refusal.ts";
import { relayed } from "./relay.ts";
import { isRead, rawRequest, type Visit } from "./visit.ts";

/** An upload under way at an upstream: where its next request goes. */
interface Session {
  readonly upstream: string;
  readonly repository: string;
  readonly url: URL;
}

/**
 * Uploads of blobs. They go to the upstream as streams; a client never sees the upstream's URLs, which may lead elsewhere and hold
 * signatures: it gets an id, and only what the upstream gave for that id is ever asked. An upstream that refuses to begin one
 * makes it an upload to our own registry. Ids are lost at a restart; clients then begin anew.
 */
export class UploadSessions {
  readonly #local: LocalRegistry;
  readonly #passes: Passes;
  /** By id, the oldest first. */
  readonly #sessions = new Map<string, Session>();

  constructor({ local, passes }: Pick<ReadDeps, "local" | "passes">) {
    this.#local = local;
    this.#passes = passes;
  }

  /** Answers `/v2/<name>/blobs/uploads/`. */
  async begin(visit: Visit): Promise<RegistryResponse> {
    const { request, upstream } = visit;
    const answer = await upstream.ask(
      rawRequest(visit, { ...bodyOf(visit), ...mountScope(visit) }),
    );
    if (request.method === "POST" && isRefusal(visit, answer.status)) {
      const refusal = await this.#passes.refusal(visit);
      if (refusal !== undefined) return relayed(visit, answer);
      answer.close();
      return this.#beginHere(visit);
    }
    if (answer.status !== 202) return relayed(visit, answer);
    return this.#goesOn(visit, answer, randomUUID());
  }

  /** Answers `/v2/<name>/blobs/uploads/<id>`. */
  async proceed(visit: Visit, id: string): Promise<RegistryResponse> {
    const session = this.#sessions.get(id);
    const { upstream, repository } = visit;
    const isOurs = session?.upstream === upstream.name && session.repository === repository;
    if (session === undefined || !isOurs) return this.#local.handle(visit);
    const target = withQuery(session.url, visit.target);
    const answer = await upstream.ask(rawRequest(visit, { target, ...bodyOf(visit) }));
    const { status } = answer;
    const isOver = status === 404 || status === 201 || visit.request.method === "DELETE";
    if (isOver) this.#sessions.delete(id);
    return isOver ? relayed(visit, answer) : this.#goesOn(visit, answer, id);
  }

  /** The upstream's answer, with a place of ours instead of its own. */
  #goesOn(visit: Visit, answer: RawAnswer, id: string): RegistryResponse {
    const { upstream, repository } = visit;
    const { location } = answer.headers;
    if (location !== undefined) {
      const url = upstream.location(location, answer.url);
      this.#sessions.delete(id);
      this.#sessions.set(id, { upstream: upstream.name, repository, url });
      const [oldest] = this.#sessions.keys();
      if (this.#sessions.size > MAX_SESSIONS && oldest !== undefined) this.#sessions.delete(oldest);
    }
    const response = relayed(visit, answer);
    const ours = { Location: `/v2/${repository}/blobs/uploads/${id}`, "Docker-Upload-Uuid": id };
    return { ...response, headers: { ...response.headers, ...ours } };
  }

  /** A body that went to the upstream is spent, so the client is told to send it once more (distribution-spec v1.1.1 end-4b). */
  #beginHere(visit: Visit): Promise<RegistryResponse> {
    if ((contentLengthOf(visit.request) ?? 0) === 0) return this.#local.handle(visit, noBody());
    return this.#local.ask(visit, { method: "POST", path: "blobs/uploads/" });
  }
}

/** A mount needs a login that may read where the blob comes from. */
function mountScope(visit: Visit): { readonly scope?: RawRequest["scope"] } {
  const from = visit.query.get("from") ?? "";
  if (!isRepositoryName(from)) return {};
  const { scope } = rawRequest(visit);
  return { scope: { ...scope, scopes: [...scope.scopes, `repository:${from}:pull`] } };
}

/** The client's body as it comes, if there is one. */
function bodyOf(visit: Visit): { readonly body?: AsyncIterable<Uint8Array> } {
  const { request } = visit;
  if (isRead(visit) || request.method === "DELETE") return {};
  return contentLengthOf(request) === 0 ? {} : { body: whole(request.body) };
}

/** Added as text: the rest may be signed. */
function withQuery(url: URL, target: string): URL {
  const query = target.split("?", 2)[1];
  if (query === undefined) return url;
  const whole = new URL(url);
  whole.search = url.search === "" ? `?${query}` : `${url.search}&${query}`;
  return whole;
}
