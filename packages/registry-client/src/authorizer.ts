import { AppError, type IoOptions, SingleFlight } from "@soci-ts/core";
import { basicHeader } from "./basic-header.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import type { Credential, CredentialSource } from "./credentials.ts";
import { fetchToken, parseRealm, type TokenDeps, type TokenRealm } from "./token.ts";

/** What a request is for; decides which token it gets. */
export interface AuthScope {
  readonly repository?: string | undefined;
  /** `repository:NAME:pull,push` and the like; all are put into one token. */
  readonly scopes: readonly string[];
}

/** A header, and whether it was at hand before the request (then a refusal may mean only that it has grown old). */
export interface Authorization {
  readonly header: string;
  readonly wasCached: boolean;
}

/** What the registry asked for the last time: it will ask for the same again, so later requests come prepared. */
type Mode = { readonly kind: "basic" } | { readonly kind: "bearer"; readonly realm: TokenRealm };

const MOST_KEPT = 4_096;
/** How long a `registrytoken` is used before its source is asked again. */
const GIVEN_TOKEN_LIFETIME_MS = 60_000;

/** Logs in to one registry. Tokens are kept by realm, service and scopes until they expire or are refused. */
export class Authorizer {
  readonly #registry: string;
  readonly #credentials: CredentialSource;
  readonly #deps: TokenDeps;
  /** By {@link Authorizer.#key}; a Basic header never expires by itself. */
  readonly #headers = new Map<string, { readonly header: string; readonly expiresAtMs: number }>();
  /** Scopes that the registry named for a request beyond those that we did. */
  readonly #extraScopes = new Map<string, readonly string[]>();
  readonly #logins = new SingleFlight<string | undefined>();
  #mode: Mode | undefined;

  constructor(registry: string, credentials: CredentialSource, deps: TokenDeps) {
    this.#registry = registry;
    this.#credentials = credentials;
    this.#deps = deps;
  }

  /** The header to send at once; undefined as long as the registry has asked for nothing. */
  async prepare(scope: AuthScope, options: IoOptions): Promise<Authorization | undefined> {
    const mode = this.#mode;
    if (mode === undefined) return undefined;
    const cached = this.#cached(mode, scope);
    if (cached !== undefined) return { header: cached, wasCached: true };
    const header = await this.#login(mode, scope, options);
    return header === undefined ? undefined : { header, wasCached: false };
  }

  /**
   * The header that answers a refusal (401, or 403 of an old one); undefined if nothing better than `refused` can be had.
   * @param challengeHeader - WWW-Authenticate of the refusal.
   */
  async renew(
    challengeHeader: string | undefined,
    scope: AuthScope,
    options: IoOptions & {
      readonly refused: Authorization | undefined;
      readonly registryUrl: URL;
    },
  ): Promise<Authorization | undefined> {
    const { refused } = options;
    const challenges = parseChallenges(challengeHeader ?? "");
    const mode = chooseMode(challenges, options.registryUrl) ?? this.#mode;
    if (mode === undefined) return undefined;
    this.#mode = mode;
    const hasNewScope = this.#learnScopes(challenges, scope);
    if (refused !== undefined && !refused.wasCached && !hasNewScope) return undefined;
    const key = this.#key(mode, scope);
    if (this.#headers.get(key)?.header === refused?.header) this.#headers.delete(key);
    // Another request may have logged in while this one was under way.
    const header = this.#cached(mode, scope) ?? (await this.#login(mode, scope, options));
    return header === undefined ? undefined : { header, wasCached: false };
  }

  #cached(mode: Mode, scope: AuthScope): string | undefined {
    const known = this.#headers.get(this.#key(mode, scope));
    return known !== undefined && known.expiresAtMs > Date.now() ? known.header : undefined;
  }

  #key(mode: Mode, scope: AuthScope): string {
    const repository = scope.repository ?? "";
    if (mode.kind === "basic") return `basic ${repository}`;
    const { url, service } = mode.realm;
    return ["bearer", repository, url.href, service, ...this.#allScopes(scope)].join("\n");
  }

  #allScopes(scope: AuthScope): readonly string[] {
    const extra = this.#extraScopes.get(scopeKey(scope)) ?? [];
    return [...new Set([...scope.scopes, ...extra])].sort();
  }

  /** True if the registry names scopes that the last token was not asked for. */
  #learnScopes(challenges: readonly Challenge[], scope: AuthScope): boolean {
    const named = challenges.flatMap(({ parameters }) => parameters.get("scope")?.split(" ") ?? []);
    const known = this.#allScopes(scope);
    const extra = named.filter((text) => text !== "" && !known.includes(text));
    if (extra.length === 0) return false;
    keep(this.#extraScopes, scopeKey(scope), extra.slice(0, MOST_EXTRA_SCOPES));
    return true;
  }

  #login(mode: Mode, scope: AuthScope, options: IoOptions): Promise<string | undefined> {
    const key = this.#key(mode, scope);
    const work = async (signal: AbortSignal): Promise<string | undefined> => {
      const login = await this.#newHeader(mode, scope, signal);
      if (login !== undefined) keep(this.#headers, key, login);
      return login?.header;
    };
    return this.#logins.do(key, work, options.signal);
  }

  async #newHeader(
    mode: Mode,
    scope: AuthScope,
    signal: AbortSignal,
  ): Promise<{ header: string; expiresAtMs: number } | undefined> {
    const credential = await this.#credentials.find(this.#registry, scope.repository, { signal });
    if (credential !== undefined) this.#hide(credential);
    if (credential?.kind === "bearer") {
      const expiresAtMs = Date.now() + GIVEN_TOKEN_LIFETIME_MS;
      return { header: bearerHeader(credential.token), expiresAtMs };
    }
    if (mode.kind === "bearer") {
      const scopes = this.#allScopes(scope);
      const token = await fetchToken(mode.realm, scopes, credential, { ...this.#deps, signal });
      return { header: bearerHeader(token.value), expiresAtMs: token.expiresAtMs };
    }
    if (credential?.kind !== "basic") return undefined;
    const header = basicHeader(credential, this.#deps.redactor);
    return { header, expiresAtMs: Number.POSITIVE_INFINITY };
  }

  #hide(credential: Credential): void {
    const { redactor } = this.#deps;
    if (credential.kind === "basic") redactor.add(credential.password);
    else redactor.add(credential.kind === "identity" ? credential.refreshToken : credential.token);
  }
}

const MOST_EXTRA_SCOPES = 4;

function scopeKey(scope: AuthScope): string {
  return scope.scopes.join(" ");
}

function keep<T>(map: Map<string, T>, key: string, value: T): void {
  if (map.size >= MOST_KEPT) map.clear();
  map.set(key, value);
}

function bearerHeader(token: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return `Bearer ${token}`;
  throw new AppError(
    "failed_precondition",
    "Cannot use the registry token: it has characters that no header may have",
  );
}

/** Bearer before Basic, as a token reveals less; undefined if the registry offers neither. */
function chooseMode(challenges: readonly Challenge[], registryUrl: URL): Mode | undefined {
  const bearer = challenges.find((challenge) => challenge.scheme === "bearer");
  if (bearer !== undefined) return { kind: "bearer", realm: parseRealm(bearer, registryUrl) };
  return challenges.some(({ scheme }) => scheme === "basic") ? { kind: "basic" } : undefined;
}
