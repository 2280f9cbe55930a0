import { AppError, type Logger } from "@soci-ts/core";
import {
  contentLengthOf,
  headerOf,
  type RegistryRequest,
  type RegistryResponse,
  splitTarget,
} from "../http.ts";
import { parseRoute, type Route } from "../route.ts";
import { errorResponse, SpecError } from "../spec-error.ts";
import { type Auditing, type Passage, record } from "./audit-events.ts";
import { type TokenFault, type TokenService, withChallenge } from "./challenge.ts";
import type { RegistryFacts } from "./facts.ts";
import { type Identity, identify, type Verifiers } from "./identity.ts";
import { checkMount } from "./mounts.ts";
import { type Need, needOf } from "./needs.ts";
import { clientKey, type TrustedProxies } from "./origin.ts";
import { type Permission, permissionOf } from "./permission.ts";
import type { Quotas } from "./quotas.ts";
import type { RateLimiter } from "./rate-limiter.ts";
import { denied, tooManyRequests, unauthorized } from "./refusals.ts";
import type { AccessRules } from "./rules.ts";
import { storeWithin } from "./store-within.ts";

/** What answers requests for paths below `/v2/`. Never throws. */
export interface RegistryHandler {
  handle(request: RegistryRequest): Promise<RegistryResponse>;
}

/** What a {@link Guard} decides by. */
export interface GuardParts {
  readonly proxies: TrustedProxies;
  /** `undefined` if everybody may do everything. */
  readonly access:
    | {
        readonly rules: AccessRules;
        readonly verifiers: Verifiers;
        readonly tokenService: TokenService;
      }
    | undefined;
  readonly clientLimit: RateLimiter | undefined;
  readonly userLimit: RateLimiter | undefined;
  readonly quotas: Quotas;
  readonly audit: Auditing | undefined;
  readonly logger: Logger;
}

/**
 * Stands before a registry's handler: each request is checked once, from its parsed path, in this order: the client's rate, who asks,
 * the user's rate, what the rules allow, the quota. What is refused never reaches the handler, and the answer follows from rules and names
 * alone: whether something exists is not to be learned from it.
 */
export class Guard implements RegistryHandler {
  readonly #parts: GuardParts;
  readonly #handler: RegistryHandler;
  readonly #facts: RegistryFacts;

  constructor(parts: GuardParts, handler: RegistryHandler, facts: RegistryFacts) {
    this.#parts = parts;
    this.#handler = handler;
    this.#facts = facts;
  }

  /** Answers one request. Never throws: see {@link RegistryHandler}. */
  async handle(request: RegistryRequest): Promise<RegistryResponse> {
    const origin = this.#parts.proxies.originOf(request);
    const passage: Passage = { request, origin, identity: { kind: "none" } };
    let response: RegistryResponse;
    try {
      response = await this.#pass(passage);
    } catch (error) {
      response = this.#refuse(AppError.from(error));
    }
    const { audit } = this.#parts;
    if (audit !== undefined) record(passage, response, audit);
    if (request.method !== "HEAD" || response.body?.kind !== "bytes") return response;
    return { status: response.status, headers: response.headers };
  }

  async #pass(passage: Passage): Promise<RegistryResponse> {
    const { request, origin } = passage;
    const client = clientKey(origin);
    requireRate(this.#parts.clientLimit, client, "too many requests from this address");
    const { path } = splitTarget(request.url);
    const route = parseRoute(path);
    passage.route = route;
    passage.need = needOf(route, request.method);
    await this.#authorize(passage, passage.need, client);
    return this.#admit(passage, route);
  }

  /** Finds out who asks, and whether he may. @throws SpecError if not, with the challenge where logging in or another token would help. */
  async #authorize(passage: Passage, need: Need, client: string): Promise<void> {
    const { access, userLimit } = this.#parts;
    if (access === undefined) return;
    const { request, origin } = passage;
    const challenge: Challenge = (refusal, fault) =>
      withChallenge(refusal, { request, origin, need }, access.tokenService, fault);
    const identity = await identifyOrChallenge(request, challenge, (header) =>
      identify(header, client, access.verifiers),
    );
    passage.identity = identity;
    const user = identity.kind === "none" ? undefined : identity.user;
    if (user !== undefined) requireRate(userLimit, user, "too many requests of this user");
    requirePermission(permissionFor(identity, access.rules, need), challenge);
  }

  /** Hands the request to the handler, with what it may mount and store. */
  async #admit(passage: Passage, route: Route): Promise<RegistryResponse> {
    const { need } = passage;
    if (need?.kind !== "action" || need.action !== "push") {
      return this.#handler.handle(passage.request);
    }
    const { request, digest } =
      route.kind === "uploads" ? this.#checkMount(passage) : { ...passage, digest: undefined };
    const measure = (repository: string) => this.#facts.usedBytes(repository);
    const intent = {
      repository: need.repository,
      sizeBytes: contentLengthOf(request) ?? 0,
      isHidden: route.kind !== "upload",
    };
    using allowance = await this.#parts.quotas.allowance(intent, measure);
    if (allowance === undefined) return this.#handler.handle(request);
    if (digest !== undefined) allowance.take(this.#facts.blobSize(digest) ?? 0);
    // Awaited here: the allowance ends with this scope.
    return await storeWithin(allowance, this.#handler, { request, route });
  }

  #checkMount({ request, identity }: Passage): ReturnType<typeof checkMount> {
    const { access } = this.#parts;
    return checkMount(request, this.#facts, (repository) => {
      if (access === undefined) return true;
      return permissionOf(identity, access.rules, { repository, action: "pull" }) === "allowed";
    });
  }

  #refuse(error: AppError): RegistryResponse {
    const response = errorResponse(error);
    if (response.status >= 500) {
      this.#parts.logger.error("access check failed", { code: error.code, reason: error.message });
    }
    return response;
  }
}

function requireRate(limit: RateLimiter | undefined, key: string, why: string): void {
  const waitMs = limit?.take(key) ?? 0;
  if (waitMs > 0) throw tooManyRequests(why, waitMs);
}

type Challenge = (refusal: SpecError, fault?: TokenFault) => SpecError;

async function identifyOrChallenge(
  request: RegistryRequest,
  challenge: Challenge,
  identified: (header: string | undefined) => Promise<Identity>,
): Promise<Identity> {
  const header = headerOf(request, "authorization");
  try {
    return await identified(header);
  } catch (error) {
    if (!(error instanceof SpecError) || error.status !== 401) throw error;
    throw challenge(error, /^bearer /i.test(header ?? "") ? "invalid_token" : undefined);
  }
}

/** To be known is enough where nothing is asked for. */
function permissionFor(identity: Identity, rules: AccessRules, need: Need): Permission {
  if (need.kind === "action") return permissionOf(identity, rules, need);
  return identity.kind === "none" ? "login" : "allowed";
}

function requirePermission(permission: Permission, challenge: Challenge): void {
  const message = "Cannot do this: log in, or get a token that allows it";
  switch (permission) {
    case "allowed":
      return;
    case "login":
      throw challenge(unauthorized(message));
    case "token":
      throw challenge(unauthorized(message), "insufficient_scope");
    case "denied":
      throw denied();
  }
}
