import { AppError } from "@soci-ts/core";
import { parseReference, type Reference } from "@soci-ts/oci";
import { parseOciLayoutName } from "@soci-ts/soci";

/**
 * The image in a registry that `name` means.
 * @param verb - completes "Cannot …" in the error.
 * @throws AppError `invalid_argument` if it is none, in particular if it is `oci:DIR`.
 */
export function registryReference(verb: string, name: string): Reference {
  if (parseOciLayoutName(name) === undefined) return parseReference(name);
  throw new AppError(
    "invalid_argument",
    `Cannot ${verb} ${JSON.stringify(name)}: it is a directory, want an image in a registry`,
  );
}
