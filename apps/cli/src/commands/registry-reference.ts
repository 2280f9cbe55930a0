import { AppError } from "@soci-ts/core";
import { parseReference, type Reference } from "@soci-ts/oci";
import { parseArchiveName, parseContainerdName, parseOciLayoutName } from "@soci-ts/soci/sources";
import type { Config } from "../config.ts";
import { STDIN } from "../sources.ts";

/**
 * The image in a registry that `name` means; for `containerd:NAME` that is where containerd has it from.
 * @param verb - completes "Cannot …" in the error.
 * @throws AppError `invalid_argument` if it is none: `oci:DIR`, an archive, stdin.
 */
export function registryReference(verb: string, name: string): Reference {
  const state = localKind(name);
  if (state === undefined) return parseReference(parseContainerdName(name) ?? name);
  throw new AppError(
    "invalid_argument",
    `Cannot ${verb} ${JSON.stringify(name)}: it is ${state}, want an image in a registry`,
  );
}

/** True if `name` means an image in a registry as it is: it has no prefix of another source, and no option chooses containerd. */
export function isInRegistry({ containerd }: Config, name: string): boolean {
  const isElsewhere = localKind(name) !== undefined || parseContainerdName(name) !== undefined;
  return !isElsewhere && !containerd.isChosen;
}

function localKind(name: string): string | undefined {
  if (name === STDIN) return "stdin";
  if (parseOciLayoutName(name) !== undefined) return "a directory";
  return parseArchiveName(name) === undefined ? undefined : "an archive";
}
