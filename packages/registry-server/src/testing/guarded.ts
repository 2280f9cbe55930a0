import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { DisposeStack } from "@soci-ts/core";
import { hashSync } from "bcryptjs";
import { type Access, type AccessOptions, openAccess } from "../access/access.ts";
import type { RegistryHandler } from "../access/guard.ts";
import { openRegistryServer, type RegistryServer } from "../registry-server.ts";
import { type Answer, type Ask, ask, freshFolder } from "./harness.ts";

/** A registry with access control before it. */
export interface Guarded extends AsyncDisposable {
  readonly folder: string;
  /** Behind the guard. */
  readonly registry: RegistryServer;
  readonly access: Access;
  readonly handler: RegistryHandler;
  /** The token of a user (password: the name twice), or of nobody, for scopes. */
  token(user: string | undefined, ...scopes: readonly string[]): Promise<string>;
}

/** Opens one. The users of `users` have their name, twice, as password. */
export async function openGuarded(
  options: Partial<AccessOptions> & { readonly users?: readonly string[] } = {},
): Promise<Guarded> {
  await using resources = new DisposeStack();
  const folder = resources.use(await freshFolder()).path;
  const registry = resources.use(await openRegistryServer(folder));
  const { users, ...others } = options;
  const htpasswdFile = users && join(folder, "htpasswd");
  if (htpasswdFile !== undefined) {
    writeFileSync(
      htpasswdFile,
      (users ?? []).map((name) => `${name}:${hashSync(name + name, 4)}`).join("\n"),
    );
  }
  const access = resources.use(
    await openAccess({
      root: folder,
      service: "svc",
      trustedProxies: [],
      htpasswdFile,
      rules: [],
      groups: [],
      tokenLifetimeMs: 300_000,
      clientRequestsPerSecond: 0,
      userRequestsPerSecond: 0,
      failedLoginsPerMinute: 1000,
      quotas: [],
      ...others,
    }),
  );
  const token = async (user: string | undefined, ...scopes: readonly string[]) => {
    const query = new URLSearchParams(scopes.map((scope): [string, string] => ["scope", scope]));
    const headers = user === undefined ? {} : basic(user);
    const answer = await ask(access.tokens!, "GET", `/token?${query.toString()}`, { headers });
    return (JSON.parse(answer.bytes.toString()) as { token: string }).token;
  };
  const running = resources.move();
  return {
    folder,
    registry,
    access,
    handler: access.guard(registry, registry.facts),
    token,
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

/** The header of a user whose password is the name twice, or another. */
export function basic(user: string, password: string = user + user): { authorization: string } {
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` };
}

/** The header of a token. */
export function bearer(token: string): { authorization: string } {
  return { authorization: `Bearer ${token}` };
}

/** Asks through the guard as a user, with a password. */
export async function askAs(
  { handler }: Guarded,
  user: string | undefined,
  request: readonly [method: string, url: string, ask?: Ask],
): Promise<Answer> {
  const [method, url, options = {}] = request;
  const headers = {
    host: "registry.example",
    ...(user === undefined ? {} : basic(user)),
    ...options.headers,
  };
  return ask(handler, method, url, { ...options, headers });
}
