import { AppError } from "@soci-ts/core";
import type { InflateEngine } from "./engine.ts";
import { PakoEngine } from "./pako-engine.ts";
import type { EngineName } from "./types.ts";
import { ZlibEngine } from "./zlib-engine.ts";
import { loadZlibLibrary } from "./zlib-library.ts";

/** The engines that work here, the fastest first. */
export function availableEngines(): EngineName[] {
  return loadZlibLibrary() === undefined ? ["pako"] : ["zlib", "pako"];
}

/**
 * An engine that writes to `output`; the caller disposes it.
 * @throws AppError `failed_precondition` if `zlib` is asked for where FFI does not work.
 */
export function createEngine(
  name: EngineName | undefined,
  output: Uint8Array<ArrayBuffer>,
): InflateEngine {
  if (name === "pako") return new PakoEngine(output);
  const library = loadZlibLibrary();
  if (library !== undefined) return new ZlibEngine(library, output);
  if (name === undefined) return new PakoEngine(output);
  throw new AppError(
    "failed_precondition",
    'Cannot use the engine "zlib": FFI does not work here, want the package koffi and a 64-bit little-endian platform',
  );
}
