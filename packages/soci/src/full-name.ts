import { formatReference, parseReference } from "@soci-ts/oci";

/** `app:v1` in full, as containerd and Docker write it into an index: `docker.io/library/app:v1`. Undefined if it is no reference. */
export function fullName(name: string): string | undefined {
  try {
    return formatReference(parseReference(name));
  } catch {
    // Names in layouts and archives need not be references.
    return undefined;
  }
}
