import { AppError, type IoOptions, SingleFlight } from "@soci-ts/core";
import { basicHeader } from "./basic-header.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import { type Credential, type CredentialSource, isRefused } from "./credentials.ts";
import { RegistryError } from "./errors.ts";
import { MAX_LOGINS } from "./limits.ts";
import { RefusedCredentials } from "./refused-credentials.ts";
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
  /** What it was made from; undefined if that is nothing. */
  readonly credential: Credential | undefined;
}

type Login = Omit<Authorization, "wasCached"> & { readonly expiresAtMs: number };

/** What the registry asked for the last time: it will ask for the same again, so later requests come prepared. */
type Mode = { readonly kind: "basic" } | { readonly kind: "bearer"; readonly realm: TokenRealm };

const MOST_KEPT = 4_096;
/** How long a `registrytoken` is used before its source is asked again. */
const GIVEN_TOKEN_LIFETIME_MS = 60_000;

/**
 * Logs in to one registry. Tokens are kept by realm, service and scopes until they expire or are refused. A credential that is
 * refused although the login is fresh is followed by the next that the source has, so that a rotated one is found.
 */
export class Authorizer {
  readonly #registry: string;
  readonly #credentials: CredentialSource;
  readonly #deps: TokenDeps;
  /** By {@link Authorizer.#key}; a Basic header never expires by itself. */
  readonly #headers = new Map<string, Login>();
  /** Scopes that the registry named for a request beyond those that we did. */
  readonly #extraScopes = new Map<string, readonly string[]>();
  readonly #logins = new SingleFlight<Login | undefined>();
  readonly #refused = new RefusedCredentials();
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
    if (cached !== undefined) return { ...cached, wasCached: true };
    const login = await this.#login(mode, scope, options);
    return login && { ...login, wasCached: false };
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
      /** False if this request was renewed before: then only another credential helps. */
      readonly isFirst: boolean;
    },
  ): Promise<Authorization | undefined> {
    const { refused, isFirst } = options;
    const challenges = parseChallenges(challengeHeader ?? "");
    const mode = chooseMode(challenges, options.registryUrl) ?? this.#mode;
    if (mode === undefined) return undefined;
    this.#mode = mode;
    const hasNewScope = this.#learnScopes(challenges, scope) && isFirst;
    const isFresh = refused !== undefined && !refused.wasCached;
    if (isFresh && !hasNewScope && !(await this.#hasOther(refused, scope, options))) {
      return undefined;
    }
    const key = this.#key(mode, scope);
    if (this.#headers.get(key)?.header === refused?.header) this.#headers.delete(key);
    // Another request may have logged in while this one was under way.
    const login = this.#cached(mode, scope) ?? (await this.#login(mode, scope, options));
    return login && { ...login, wasCached: false };
  }

  /** True if there is a credential besides the one that was refused just now. */
  async #hasOther(refused: Authorization, scope: AuthScope, options: IoOptions): Promise<boolean> {
    if (refused.credential === undefined) return false;
    this.#refused.add(scope.repository, refused.credential);
    return (await this.#findOther(scope, options)) !== undefined;
  }

  #cached(mode: Mode, scope: AuthScope): Login | undefined {
    const known = this.#headers.get(this.#key(mode, scope));
    return known !== undefined && known.expiresAtMs > Date.now() ? known : undefined;
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

  #login(mode: Mode, scope: AuthScope, options: IoOptions): Promise<Login | undefined> {
    const key = this.#key(mode, scope);
    const work = async (signal: AbortSignal): Promise<Login | undefined> => {
      const login = await this.#newLogin(mode, scope, signal);
      if (login !== undefined) keep(this.#headers, key, login);
      return login;
    };
    return this.#logins.do(key, work, options.signal);
  }

  /** Where the token server refuses a credential, the next one is tried. */
  async #newLogin(mode: Mode, scope: AuthScope, signal: AbortSignal): Promise<Login | undefined> {
    const options = { signal };
    // All may have been refused a moment ago: then the first one has another chance.
    let credential = await this.#findOther(scope, options);
    if (credential === undefined && this.#refused.of(scope.repository).length > 0) {
      credential = await this.#credentials.find(this.#registry, scope.repository, options);
    }
    for (let logins = 1; ; logins++) {
      try {
        return await this.#loginWith(credential, mode, scope, signal);
      } catch (error) {
        const isRefusal = error instanceof RegistryError && error.status === 401;
        if (!isRefusal || credential === undefined || logins >= MAX_LOGINS) throw error;
        this.#refused.add(scope.repository, credential);
        const other = await this.#findOther(scope, options);
        if (other === undefined) throw error;
        credential = other;
      }
    }
  }

  /** A credential that was not refused just now. */
  async #findOther(scope: AuthScope, options: IoOptions): Promise<Credential | undefined> {
    const refused = this.#refused.of(scope.repository);
    const wanted = { signal: options.signal, refused };
    const found = await this.#credentials.find(this.#registry, scope.repository, wanted);
    return found === undefined || isRefused(found, wanted) ? undefined : found;
  }

  async #loginWith(
    credential: Credential | undefined,
    mode: Mode,
    scope: AuthScope,
    signal: AbortSignal,
  ): Promise<Login | undefined> {
    if (credential !== undefined) this.#hide(credential);
    if (credential?.kind === "bearer") {
      const expiresAtMs = Date.now() + GIVEN_TOKEN_LIFETIME_MS;
      return { header: bearerHeader(credential.token), expiresAtMs, credential };
    }
    if (mode.kind === "bearer") {
      const scopes = this.#allScopes(scope);
      const token = await fetchToken(mode.realm, scopes, credential, { ...this.#deps, signal });
      return { header: bearerHeader(token.value), expiresAtMs: token.expiresAtMs, credential };
    }
    if (credential?.kind !== "basic") return undefined;
    const header = basicHeader(credential, this.#deps.redactor);
    return { header, expiresAtMs: Number.POSITIVE_INFINITY, credential };
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
