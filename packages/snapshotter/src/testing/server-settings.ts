import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { ServeLayersOptions } from "../node/serve-layers.ts";

/** How a test's layer server differs from others. */
export interface ServerSettings {
  readonly resend?: "auto" | "off";
  /** A repository, with its host; the server crashes when a blob of it is asked for. */
  readonly poison?: string;
  /** Bytes a second that it hydrates with; without, it does not. */
  readonly hydrate?: number;
  /** Limits of the layer caches; without, there are none. */
  readonly cache?: Partial<Pick<ServeLayersOptions, "cacheLimits" | "recentMs">>;
  /** `none`: as where koffi can't be loaded. */
  readonly ffi?: "none";
}

/** Read by every server that is started from then on. */
export async function writeServerSettings(root: string, settings: ServerSettings): Promise<void> {
  await mkdir(root, { recursive: true });
  writeFileSync(settingsPath(root), JSON.stringify(settings));
}

/** What the test wants; nothing special if it did not say. */
export function readServerSettings(root: string): ServerSettings {
  const path = settingsPath(root);
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as ServerSettings) : {};
}

/** Makes koffi fail to load in this process. */
export function withholdFfi(): void {
  const require = createRequire(import.meta.resolve("@soci-ts/linux"));
  const path = require.resolve("koffi");
  require.cache[path] = { id: path, filename: path, loaded: true, exports: {} } as NodeModule;
}

function settingsPath(root: string): string {
  return join(root, "test-server.json");
}
