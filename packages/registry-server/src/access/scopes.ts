import { isRepositoryName } from "../route.ts";

/** Most scopes of one token: a push asks for two or three. More are left out of the token, and so not allowed by it. */
const MAX_SCOPES = 64;
const MAX_ACTIONS = 8;

/** What a token allows: repository → actions; `*` is any action. */
export type Grants = ReadonlyMap<string, ReadonlySet<string>>;

/**
 * The repositories and actions of `scope` values (`repository:team/app:pull,push`, several with blanks between). What is of another
 * type, or no name of a repository, is passed over: the token then does not have it.
 */
export function parseScopes(texts: readonly string[]): Grants {
  const scopes = new Map<string, Set<string>>();
  for (const scope of texts.flatMap((text) => text.split(" "))) {
    const [type, repository = "", actions = "", ...rest] = scope.split(":");
    if (type !== "repository" || rest.length > 0 || !isRepositoryName(repository)) continue;
    if (scopes.size >= MAX_SCOPES && !scopes.has(repository)) continue;
    const known = scopes.get(repository) ?? new Set();
    for (const action of actions.split(",").slice(0, MAX_ACTIONS)) known.add(action);
    scopes.set(repository, known);
  }
  return scopes;
}

/** Grants as the value of `scope`. */
export function formatScope(grants: Grants): string {
  return [...grants]
    .map(([repository, actions]) => `repository:${repository}:${[...actions].join(",")}`)
    .join(" ");
}

/** True if the grants hold an action. */
export function isGranted(grants: Grants, repository: string, action: string): boolean {
  const actions = grants.get(repository);
  return actions !== undefined && (actions.has(action) || actions.has("*"));
}
