import { fileURLToPath } from "node:url";

/** Where this program is installed. Seen from here: the bundle's files lie as deep as this one, and no deeper. */
export const PROGRAM: string = fileURLToPath(
  new URL("../bin/soci-snapshotter.js", import.meta.url),
);
