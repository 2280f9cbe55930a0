import { join } from "node:path";
import { DisposeStack } from "@soci-ts/core";
import { openRegistryServer, type RegistryServer } from "../registry-server.ts";
import { type Companion, openCompanion } from "../upstream/companion.ts";
import type { CompanionOptions, UpstreamOptions } from "../upstream/options.ts";
import { freshFolder } from "./harness.ts";

/** A companion of a test, with what it keeps. */
export interface TestCompanion extends AsyncDisposable {
  readonly companion: Companion;
  /** What is kept here; repositories begin with the upstream's room. */
  readonly registry: RegistryServer;
  readonly root: string;
}

/** Where the upstream is, and what else is said of it. */
export type TestUpstream = { readonly url: URL } & Partial<UpstreamOptions>;

/** What may be said of the companion besides its upstreams. */
export type TestCompanionOptions = Partial<CompanionOptions> & { readonly root?: string };

/** Starts a companion before upstreams; the first is called `up.test`, others want a name. */
export async function startCompanion(
  upstreams: readonly TestUpstream[],
  options: TestCompanionOptions = {},
): Promise<TestCompanion> {
  await using resources = new DisposeStack();
  const root = options.root ?? resources.use(await freshFolder()).path;
  const registry = resources.use(await openRegistryServer(join(root, "registry")));
  const companion = resources.use(
    await openCompanion(join(root, "cache"), registry, {
      cacheBytes: 100_000_000,
      patienceMs: 5_000,
      ...options,
      upstreams: upstreams.map((upstream) => ({ name: "up.test", ...upstream })),
    }),
  );
  const running = resources.move();
  return {
    ...{ companion, registry, root },
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

/** Resolves as soon as `isDone` is true; fails after 5 s. */
export async function eventually(isDone: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 5_000;
  while (!(await isDone())) {
    if (Date.now() > deadline) throw new Error("waited 5 s in vain");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
