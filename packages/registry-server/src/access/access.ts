import { join } from "node:path";
import { DisposeStack, type Logger, silentLogger } from "@soci-ts/core";
import type { RegistryRequest, RegistryResponse } from "../http.ts";
import { AuditLog } from "./audit-log.ts";
import type { RegistryFacts } from "./facts.ts";
import { Guard, type GuardParts, type RegistryHandler } from "./guard.ts";
import { parseHtpasswd } from "./htpasswd.ts";
import type { Issuer } from "./identity.ts";
import { parseIssuerKeys } from "./issuer-keys.ts";
import { TrustedProxies } from "./origin.ts";
import { refuseOutsider } from "./outsiders.ts";
import { PasswordThread } from "./password-thread.ts";
import { Passwords } from "./passwords.ts";
import { type Quota, Quotas } from "./quotas.ts";
import { RateLimiter } from "./rate-limiter.ts";
import { ACTIONS, type AccessRule, AccessRules, ANY_USER, type UserGroup } from "./rules.ts";
import { TokenEndpoint } from "./token-endpoint.ts";
import { TokenKeys } from "./token-keys.ts";
import { OwnTokens } from "./tokens.ts";
import { VerifiedTokens } from "./verified-tokens.ts";
import { WatchedFile } from "./watched-file.ts";

const ROTATION_CHECK_MS: number = 60 * 60 * 1000;
/** After a pause a client or a user may send what is worth this many seconds at once. */
const BURST_SECONDS = 10;

/** How access is given. Without passwords, token server and rules everybody may do everything. */
export interface AccessOptions {
  /** The registry's folder: the keys of tokens are kept there. */
  readonly root: string;
  /** The service's name in challenges and tokens: letters, digits, `-` and `_`. */
  readonly service: string;
  /** The service's URL as clients reach it; without one it is taken from each request. */
  readonly publicUrl?: string | undefined;
  /** Addresses and networks of proxies that may say where a request comes from. */
  readonly trustedProxies: readonly string[];
  /** A file as `htpasswd -B` writes it. */
  readonly htpasswdFile?: string | undefined;
  /** A token server elsewhere, which then issues all tokens. */
  readonly issuer?:
    | { readonly realm: string; readonly name: string; readonly keysFile: string }
    | undefined;
  /** Without any, whoever is logged in may do everything. */
  readonly rules: readonly AccessRule[];
  readonly groups: readonly UserGroup[];
  readonly tokenLifetimeMs: number;
  /** 0 for no limit. */
  readonly clientRequestsPerSecond: number;
  /** 0 for no limit. */
  readonly userRequestsPerSecond: number;
  readonly failedLoginsPerMinute: number;
  readonly quotas: readonly Quota[];
  readonly audit?: { readonly file: string; readonly withReads: boolean } | undefined;
  readonly logger?: Logger;
}

/** Access control, ready to stand before a registry: {@link Access.guard} for `/v2/`, {@link Access.tokens} for `/token`. */
export class Access implements AsyncDisposable {
  readonly #parts: GuardParts;
  readonly #reload: () => void;
  readonly #resources: DisposeStack;
  /** Answers requests for tokens; `undefined` where there are none, or another server issues them. */
  readonly tokens: TokenEndpoint | undefined;

  /** @internal Use {@link openAccess}. */
  constructor(
    parts: GuardParts,
    tokens: TokenEndpoint | undefined,
    { reload, resources }: { readonly reload: () => void; readonly resources: DisposeStack },
  ) {
    this.#parts = parts;
    this.tokens = tokens;
    this.#reload = reload;
    this.#resources = resources;
  }

  /** True if everybody may do everything. */
  get isOpen(): boolean {
    return this.#parts.access === undefined;
  }

  /** The handler with access control before it. */
  guard(handler: RegistryHandler, facts: RegistryFacts): RegistryHandler {
    return new Guard(this.#parts, handler, facts);
  }

  /** The answer to a request for something beside `/v2/` and `/token` from who may not have it: see {@link refuseOutsider}. */
  refuseOutsider(request: RegistryRequest): Promise<RegistryResponse | undefined> {
    return refuseOutsider(request, this.#parts);
  }

  /** Reads passwords and keys again, and opens the audit log anew. */
  reload(): void {
    this.#reload();
  }

  /** Ends the thread and closes the audit log; idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources[Symbol.asyncDispose]();
  }
}

/**
 * Opens what access control needs: files are read, the keys of tokens made if need be.
 * @throws AppError if a file can't be read or used.
 */
export async function openAccess(options: AccessOptions): Promise<Access> {
  const { logger = silentLogger, audit } = options;
  await using resources = new DisposeStack();
  const log = audit && new AuditLog(audit.file, logger);
  if (log !== undefined) resources.defer(() => log[Symbol.dispose]());
  const passwords = openPasswords(options, logger, resources);
  const issuer = openIssuer(options, logger);
  const isOpen = passwords === undefined && issuer === undefined && options.rules.length === 0;
  const rules = new AccessRules(
    options.rules.length > 0 ? options.rules : [EVERYTHING],
    options.groups,
  );
  const tokens =
    isOpen || issuer !== undefined ? undefined : await openTokens(options, logger, resources);
  const verifiers = { passwords, tokens, issuer, verified: new VerifiedTokens() };
  const { service, publicUrl } = options;
  const tokenService = { service, publicUrl, realm: options.issuer?.realm };
  const parts: GuardParts = {
    proxies: new TrustedProxies(options.trustedProxies),
    access: isOpen ? undefined : { rules, verifiers, tokenService },
    clientLimit: limiter(options.clientRequestsPerSecond),
    userLimit: limiter(options.userRequestsPerSecond),
    quotas: new Quotas(options.quotas),
    audit: audit && log && { log, withReads: audit.withReads },
    logger,
  };
  const endpoint =
    tokens && new TokenEndpoint({ ...parts, rules, verifiers, tokens, service, audit: log });
  const reload = () => {
    passwords?.reload();
    issuer?.keys.reload();
    log?.reopen();
  };
  return new Access(parts, endpoint, { reload, resources: resources.move() });
}

const EVERYTHING: AccessRule = { repositories: ["*"], users: [ANY_USER], allow: ACTIONS };

function openPasswords(
  { htpasswdFile, failedLoginsPerMinute }: AccessOptions,
  logger: Logger,
  resources: DisposeStack,
): Passwords | undefined {
  if (htpasswdFile === undefined) return undefined;
  const file = new WatchedFile(htpasswdFile, parseHtpasswd, logger);
  return new Passwords(file, resources.use(new PasswordThread()), failedLoginsPerMinute);
}

function openIssuer({ issuer, service }: AccessOptions, logger: Logger): Issuer | undefined {
  if (issuer === undefined) return undefined;
  const keys = new WatchedFile(issuer.keysFile, parseIssuerKeys, logger);
  return { name: issuer.name, service, keys };
}

async function openTokens(
  { root, service, tokenLifetimeMs }: AccessOptions,
  logger: Logger,
  resources: DisposeStack,
): Promise<OwnTokens> {
  const keys = await TokenKeys.open(join(root, "token-keys.json"), tokenLifetimeMs, logger);
  const timer = setInterval(() => keys.rotate(), ROTATION_CHECK_MS);
  timer.unref();
  resources.defer(() => clearInterval(timer));
  return new OwnTokens(keys, service, tokenLifetimeMs);
}

function limiter(perSecond: number): RateLimiter | undefined {
  if (perSecond === 0) return undefined;
  return new RateLimiter({ perSecond, burst: perSecond * BURST_SECONDS });
}
