import { AppError, type Logger } from "@soci-ts/core";
import {
  collected,
  headerOf,
  jsonResponse,
  type RegistryRequest,
  type RegistryResponse,
  splitTarget,
} from "../http.ts";
import { errorResponse, methodNotAllowed, SpecError } from "../spec-error.ts";
import type { AuditLog } from "./audit-log.ts";
import { type Credentials, identify, type Verifiers } from "./identity.ts";
import { clientKey, type Origin, type TrustedProxies } from "./origin.ts";
import type { RateLimiter } from "./rate-limiter.ts";
import { tooManyRequests, unauthorized } from "./refusals.ts";
import { ACTIONS, type AccessRules } from "./rules.ts";
import { formatScope, type Grants, parseScopes } from "./scopes.ts";
import type { IssuedToken, OwnTokens } from "./tokens.ts";

/** A form with name, password and scopes is much smaller. */
const MAX_FORM_BYTES = 16_384;

/** What a {@link TokenEndpoint} issues tokens by. */
export interface TokenEndpointParts {
  readonly proxies: TrustedProxies;
  readonly rules: AccessRules;
  readonly verifiers: Verifiers;
  readonly tokens: OwnTokens;
  readonly service: string;
  readonly clientLimit: RateLimiter | undefined;
  readonly audit: AuditLog | undefined;
  readonly logger: Logger;
}

interface TokenRequest {
  readonly user: string | undefined;
  readonly scopes: Grants;
}

/**
 * The token server of the docker token protocol, in both its forms: `GET /token` with a Basic header, and `POST /token` with an OAuth 2
 * form (`grant_type=password`). A token holds of what was asked what the rules allow, which may be nothing: no more can be learned from
 * it. There are no refresh tokens.
 */
export class TokenEndpoint {
  readonly #parts: TokenEndpointParts;

  constructor(parts: TokenEndpointParts) {
    this.#parts = parts;
  }

  /** Answers one request for a token. Never throws. */
  async handle(request: RegistryRequest): Promise<RegistryResponse> {
    const origin = this.#parts.proxies.originOf(request);
    try {
      const { user, scopes } = await this.#read(request, origin);
      return this.#issue(request, origin, { user, scopes });
    } catch (error) {
      const failure = AppError.from(error);
      const response = errorResponse(failure);
      const { logger } = this.#parts;
      if (response.status >= 500) logger.error("token failed", { reason: failure.message });
      this.#record(request, origin, { status: response.status });
      return response;
    }
  }

  async #read(request: RegistryRequest, origin: Origin): Promise<TokenRequest> {
    const { clientLimit } = this.#parts;
    const client = clientKey(origin);
    const waitMs = clientLimit?.take(client) ?? 0;
    if (waitMs > 0) throw tooManyRequests("too many requests from this address", waitMs);
    switch (request.method) {
      case "GET":
        return this.#readQuery(request, client);
      case "POST":
        return this.#readForm(request, client);
      default:
        throw methodNotAllowed(request.method, ["GET", "POST"]);
    }
  }

  async #readQuery(request: RegistryRequest, client: string): Promise<TokenRequest> {
    const { query } = splitTarget(request.url);
    const header = headerOf(request, "authorization");
    const scopes = parseScopes(query.getAll("scope"));
    if (header === undefined) return { user: this.#nobody(), scopes };
    return { user: await this.#login(header, client), scopes };
  }

  async #readForm(request: RegistryRequest, client: string): Promise<TokenRequest> {
    const form = new URLSearchParams(await readText(request.body));
    const scopes = parseScopes(form.getAll("scope"));
    if (form.get("grant_type") !== "password") {
      throw unauthorized("Cannot issue a token: want grant_type=password, there are no others");
    }
    const credentials = { user: form.get("username") ?? "", password: form.get("password") ?? "" };
    return { user: await this.#login(basicHeader(credentials), client), scopes };
  }

  async #login(header: string, client: string): Promise<string> {
    const verifiers = { ...this.#parts.verifiers, tokens: undefined, issuer: undefined };
    try {
      const identity = await identify(header, client, verifiers);
      if (identity.kind === "password") return identity.user;
      throw unauthorized("Cannot issue a token: want a user name and password");
    } catch (error) {
      if (!(error instanceof SpecError) || error.status !== 401) throw error;
      const { service } = this.#parts;
      throw error.withHeaders({ "WWW-Authenticate": `Basic realm="${service}", charset="UTF-8"` });
    }
  }

  #nobody(): undefined {
    if (this.#parts.rules.hasAnonymous) return undefined;
    throw unauthorized("Cannot issue a token: want a user name and password");
  }

  #issue(
    request: RegistryRequest,
    origin: Origin,
    { user, scopes }: TokenRequest,
  ): RegistryResponse {
    const grants = this.#grant(user, scopes);
    const issued = this.#parts.tokens.issue(user, grants);
    if (user !== undefined) {
      this.#record(request, origin, { status: 200, user, scope: formatScope(grants) });
    }
    return tokenResponse(issued, grants);
  }

  #grant(user: string | undefined, scopes: Grants): Grants {
    const grants = new Map<string, ReadonlySet<string>>();
    for (const [repository, wanted] of scopes) {
      const actions = ACTIONS.filter(
        (action) =>
          (wanted.has(action) || wanted.has("*")) &&
          this.#parts.rules.allows(user, repository, action),
      );
      if (actions.length > 0) grants.set(repository, new Set(actions));
    }
    return grants;
  }

  #record(
    request: RegistryRequest,
    origin: Origin,
    outcome: { readonly status: number; readonly user?: string; readonly scope?: string },
  ): void {
    const { status, user = null, scope } = outcome;
    const event = {
      client: origin.address,
      user,
      action: "login",
      method: request.method,
      scope,
      status,
      userAgent: headerOf(request, "user-agent"),
    } as const;
    if (status === 200) this.#parts.audit?.write(event);
    else this.#parts.audit?.writeRefusal(event);
  }
}

/** Both forms' names for the token, so that every client finds its own. */
function tokenResponse(
  { token, issuedMs, lifetimeMs }: IssuedToken,
  grants: Grants,
): RegistryResponse {
  return jsonResponse(
    200,
    {
      token,
      access_token: token,
      token_type: "Bearer",
      expires_in: lifetimeMs / 1000,
      issued_at: new Date(issuedMs).toISOString(),
      scope: formatScope(grants),
    },
    { "Cache-Control": "no-store" },
  );
}

function basicHeader({ user, password }: Credentials): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
}

async function readText(body: AsyncIterable<Uint8Array>): Promise<string> {
  const bytes = await collected(body, MAX_FORM_BYTES);
  if (bytes !== undefined) return Buffer.from(bytes).toString();
  throw new SpecError("SIZE_INVALID", `Cannot read form: want at most ${MAX_FORM_BYTES} bytes`);
}
