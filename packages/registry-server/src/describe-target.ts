import { splitTarget } from "./http.ts";
import { parseRoute, type Route } from "./route.ts";

/** What a request is about, for logs and counts. */
export interface TargetDescription {
  /** `other` for a path that the specification does not have, or that names nothing valid. */
  readonly kind: Route["kind"] | "other";
  readonly repository?: string | undefined;
}

/** The kind of path and the repository of a request target; never throws, and keeps nothing else of what the client wrote. */
export function describeTarget(url: string): TargetDescription {
  try {
    const route = parseRoute(splitTarget(url).path);
    return { kind: route.kind, repository: "repository" in route ? route.repository : undefined };
  } catch {
    return { kind: "other" }; // the answer says what is wrong with it
  }
}
