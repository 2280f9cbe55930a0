import { AppError, type Logger, silentLogger } from "@soci-ts/core";
import { type CredentialSource, isRefused } from "./credentials.ts";

/** One source of a chain. */
export interface NamedSource {
  /** For logs: `kubelet`, `command`, `files`. */
  readonly name: string;
  readonly source: CredentialSource;
}

const MOST_NOTED = 256;

/**
 * The first credential that one of the sources has and the registry has not just refused. A source that fails is passed over, and
 * each kind of failure is logged once: others may have what is needed, and public images need nothing.
 */
export function chainCredentials(
  sources: readonly NamedSource[],
  logger: Logger = silentLogger,
): CredentialSource {
  const noted = new Set<string>();
  const note = (name: string, error: unknown): void => {
    const { code, message } = AppError.from(error);
    const key = `${name} ${code} ${message}`;
    if (noted.has(key)) return;
    if (noted.size >= MOST_NOTED) noted.clear();
    noted.add(key);
    logger.warn("credential source fails", { source: name, code, why: message });
  };
  return {
    async find(registry, repository, options) {
      for (const { name, source } of sources) {
        try {
          const found = await source.find(registry, repository, options);
          if (found !== undefined && !isRefused(found, options)) return found;
        } catch (error) {
          options?.signal?.throwIfAborted();
          note(name, error);
        }
      }
      return undefined;
    },
  };
}
