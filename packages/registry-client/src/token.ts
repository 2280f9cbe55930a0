import { AppError, type IoOptions } from "@soci-ts/core";
import { basicHeader } from "./basic-header.ts";
import { discardBody, readBody } from "./body.ts";
import type { Challenge } from "./challenge.ts";
import type { Credential } from "./credentials.ts";
import { parseSpecErrors, RegistryError } from "./errors.ts";
import { headerValue, parseRetryAfter } from "./headers.ts";
import type { HostConnection } from "./hosts.ts";
import { ERROR_BODY_LIMIT_BYTES, MAX_TOKEN_LENGTH, TOKEN_RESPONSE_LIMIT_BYTES } from "./limits.ts";
import { isLoopbackHost } from "./proxy.ts";
import { type Redactor, shownUrl } from "./redact.ts";
import type { Transport, WireRequest, WireResponse } from "./transport.ts";

/** A token, and until when it is used. */
export interface Token {
  readonly value: string;
  readonly expiresAtMs: number;
}

/** Where a registry has its tokens made, from its `Bearer` challenge. */
export interface TokenRealm {
  readonly url: URL;
  readonly service: string;
}

/** What asking for a token needs. */
export interface TokenDeps {
  readonly transport: Transport;
  readonly redactor: Redactor;
  readonly clientId: string;
  /** How to connect to token servers, if not as usual. */
  readonly connection?: HostConnection | undefined;
}

const DEFAULT_LIFETIME_SEC = 60;
const LONGEST_LIFETIME_SEC = 86_400;
/** A token is given up this part of its life early, so that it does not end under way. */
const MARGIN = 0.1;

/**
 * The realm of a `Bearer` challenge.
 * @param registryUrl - the registry that sent it; a token server in plain HTTP is accepted only from one like that.
 * @throws AppError `failed_precondition` if it cannot be used.
 */
export function parseRealm(challenge: Challenge, registryUrl: URL): TokenRealm {
  const text = challenge.parameters.get("realm") ?? "";
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const problem = realmProblem(url, registryUrl);
  if (url === undefined || problem !== undefined) {
    throw new AppError(
      "failed_precondition",
      `Cannot log in to ${registryUrl.host}: its token server's URL ${problem ?? "is no URL"}, want https://host/path`,
    );
  }
  return { url, service: challenge.parameters.get("service") ?? "" };
}

function realmProblem(url: URL | undefined, registryUrl: URL): string | undefined {
  if (url === undefined) return "is no URL";
  if (url.username !== "" || url.password !== "") return "has a user name";
  if (url.protocol === "https:") return undefined;
  if (url.protocol !== "http:") return `has the scheme ${url.protocol}`;
  const isAllowed = registryUrl.protocol === "http:" || isLoopbackHost(url.hostname);
  return isAllowed ? undefined : "is in plain HTTP";
}

/**
 * A fresh token for `scopes`: by OAuth2 (POST) with a refresh token, else by GET with the user's name and password, or
 * anonymously. (distribution's token.md and oauth.md.) Not retried here: the request that needs the token is.
 * @throws RegistryError `unauthenticated` if the token server refuses.
 */
export async function fetchToken(
  realm: TokenRealm,
  scopes: readonly string[],
  credential: Credential | undefined,
  options: TokenDeps & IoOptions,
): Promise<Token> {
  const request = tokenRequest(realm, scopes, credential, options);
  const sentAtMs = Date.now();
  const answer = await options.transport.send(request);
  await refuseBadAnswer(answer, credential !== undefined, options);
  const body = await readBody(answer, TOKEN_RESPONSE_LIMIT_BYTES, options.transport);
  return parseToken(body, sentAtMs, realm, options.redactor);
}

function tokenRequest(
  realm: TokenRealm,
  scopes: readonly string[],
  credential: Credential | undefined,
  options: TokenDeps & IoOptions,
): WireRequest {
  const { signal, clientId, redactor } = options;
  const common = { signal: withDeadline(signal), connection: options.connection };
  if (credential?.kind === "identity") {
    const form = new URLSearchParams({
      grant_type: "refresh_token",
      service: realm.service,
      client_id: clientId,
      refresh_token: credential.refreshToken,
    });
    if (scopes.length > 0) form.set("scope", scopes.join(" "));
    const headers = {
      "content-type": "application/x-www-form-urlencoded",
      accept: "application/json",
    };
    return { ...common, method: "POST", url: realm.url, headers, body: form.toString() };
  }
  const url = new URL(realm.url);
  if (realm.service !== "") url.searchParams.set("service", realm.service);
  for (const scope of scopes) url.searchParams.append("scope", scope);
  url.searchParams.set("client_id", clientId);
  const authorization =
    credential?.kind === "basic" ? basicHeader(credential, redactor) : undefined;
  const headers = {
    accept: "application/json",
    ...(authorization !== undefined && { authorization }),
  };
  return { ...common, method: "GET", url, headers };
}

/**
 * The whole exchange, body included, may take this long. Whoever wants the same token meanwhile waits for the same exchange, so one that hangs must end well before
 * their own patience does.
 */
const TOKEN_DEADLINE_MS = 10_000;

function withDeadline(signal: AbortSignal | undefined): AbortSignal {
  const deadline = AbortSignal.timeout(TOKEN_DEADLINE_MS);
  return signal === undefined ? deadline : AbortSignal.any([signal, deadline]);
}

async function refuseBadAnswer(
  answer: WireResponse,
  hadCredential: boolean,
  options: TokenDeps,
): Promise<void> {
  if (answer.status === 200) return;
  const action = `log in at ${shownUrl(answer.url)}`;
  if (answer.status >= 300 && answer.status < 400) {
    // Following it would take the password elsewhere.
    await discardBody(answer);
    throw new RegistryError(action, {
      status: answer.status,
      hint: "redirects are not followed here",
    });
  }
  const body = await readBody(answer, ERROR_BODY_LIMIT_BYTES, options.transport);
  const refused = answer.status === 401 || answer.status === 403;
  throw new RegistryError(action, {
    status: refused ? 401 : answer.status,
    specErrors: parseSpecErrors(body, options.redactor),
    retryAfterMs: parseRetryAfter(headerValue(answer.headers, "retry-after"), Date.now()),
    ...(refused && {
      hint: hadCredential ? "the credentials are refused" : "there are no credentials for it",
    }),
  });
}

/** The document is never part of an error: it holds the token. */
function parseToken(
  body: Uint8Array,
  sentAtMs: number,
  realm: TokenRealm,
  redactor: Redactor,
): Token {
  const document = parseQuietly(body);
  const value = document["token"] ?? document["access_token"];
  // A token goes into a header: anything but visible ASCII could end it.
  if (
    typeof value !== "string" ||
    value.length > MAX_TOKEN_LENGTH ||
    !/^[\x21-\x7e]+$/.test(value)
  ) {
    throw new AppError(
      "data_loss",
      `Cannot log in at ${shownUrl(realm.url)}: the answer holds no usable token, want {"token": …}`,
    );
  }
  redactor.add(value);
  const told = document["expires_in"];
  const lifetimeSec = typeof told === "number" && told > 0 ? told : DEFAULT_LIFETIME_SEC;
  const usedMs = Math.min(lifetimeSec, LONGEST_LIFETIME_SEC) * 1000 * (1 - MARGIN);
  return { value, expiresAtMs: sentAtMs + usedMs };
}

function parseQuietly(body: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const document: unknown = JSON.parse(Buffer.from(body).toString("utf8"));
    if (typeof document === "object" && document !== null)
      return document as Record<string, unknown>;
  } catch {
    // V8's message quotes the text; the caller says what was wanted.
  }
  return {};
}
