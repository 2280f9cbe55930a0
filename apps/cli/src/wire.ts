import type { Logger } from "@soci-ts/core";
import { DisposeStack } from "@soci-ts/core";
import type { RegistryClient } from "@soci-ts/registry-client";
import type { ImageTree } from "@soci-ts/soci";
import type { Store } from "@soci-ts/store";
import type { Config } from "./config.ts";
import { createLogger } from "./logger.ts";
import { createProgress, type Progress } from "./progress.ts";

/** What a command works with. Parts are made when first asked for, so that a command loads only what it uses. */
export interface Session extends AsyncDisposable {
  readonly config: Config;
  readonly logger: Logger;
  /** Aborts on SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
  readonly progress: Progress;
  store(): Promise<Store>;
  client(): Promise<RegistryClient>;
  /** The image that `name` means: see `openSource`. */
  source(name: string): Promise<ImageTree>;
}

/** Builds the object graph of one run of the command. Closing it closes what was opened. */
export function openSession(config: Config, signal: AbortSignal): Session {
  const stack = new DisposeStack();
  const logger = createLogger(config.logLevel);
  const progress = createProgress(config.drawsBars);
  stack.defer(() => progress.close());
  const store = once(async () => {
    const { openStore } = await import("@soci-ts/store");
    return stack.use(await openStore(config.root, { logger }));
  });
  const client = once(async () => {
    const { certsDirHosts, loadCredentials, RegistryClient } = await import(
      "@soci-ts/registry-client"
    );
    const { login, hostsDirectories } = config;
    return stack.use(
      new RegistryClient({
        credentials:
          login === undefined
            ? loadCredentials({ files: config.credentialFiles })
            : { find: async () => login },
        ...(hostsDirectories.length > 0 && {
          hosts: certsDirHosts({ directories: hostsDirectories, logger }),
        }),
        plainHttp: config.plainHttp,
        caFile: config.caFile,
        certsDir: config.certsDirectory,
        systemCaFiles: config.systemCaFiles,
        proxy: config.proxy,
        logger,
      }),
    );
  });
  return {
    config,
    logger,
    signal,
    progress,
    store,
    client,
    async source(name) {
      const { openSource } = await import("./sources.ts");
      return openSource({ config, stack, signal, store, client }, name);
    },
    [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose](),
  };
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
