import { Glob } from "@soci-ts/core";

/** What can be done with a repository. `delete` is for manifests, tags and blobs; giving up an upload is part of `push`. */
export type Action = "pull" | "push" | "delete";

/** All actions. */
export const ACTIONS: readonly Action[] = ["pull", "push", "delete"];
/** Among the users of a rule: whoever asks, logged in or not. */
export const ANONYMOUS = "anonymous";
/** Among the users of a rule: whoever is logged in. */
export const ANY_USER = "*";

/** Lets users do something. Rules only ever add: what no rule allows is forbidden. */
export interface AccessRule {
  /** Repositories, with `*` for any text. */
  readonly repositories: readonly string[];
  /** Names, `@group`, {@link ANY_USER} or {@link ANONYMOUS}. */
  readonly users: readonly string[];
  readonly allow: readonly Action[];
}

/** Users who share rules. */
export interface UserGroup {
  readonly name: string;
  readonly users: readonly string[];
}

interface CompiledRule {
  readonly globs: readonly Glob[];
  readonly users: ReadonlySet<string>;
  readonly allow: readonly Action[];
}

/** Who may do what, from the configuration. */
export class AccessRules {
  readonly #rules: readonly CompiledRule[];

  constructor(rules: readonly AccessRule[], groups: readonly UserGroup[] = []) {
    const members = new Map(groups.map(({ name, users }) => [`@${name}`, users]));
    this.#rules = rules.map(({ repositories, users, allow }) => ({
      globs: repositories.map((pattern) => new Glob(pattern)),
      users: new Set(users.flatMap((name) => members.get(name) ?? [name])),
      allow,
    }));
  }

  /** True if a user may do something there; without a user, if anybody may. */
  allows(user: string | undefined, repository: string, action: Action): boolean {
    return this.#rules.some(
      (rule) =>
        rule.allow.includes(action) &&
        isMeant(user, rule) &&
        rule.globs.some((glob) => glob.matches(repository)),
    );
  }

  /** True if something is allowed without logging in. */
  get hasAnonymous(): boolean {
    return this.#rules.some(({ users }) => users.has(ANONYMOUS));
  }
}

function isMeant(user: string | undefined, { users }: CompiledRule): boolean {
  if (users.has(ANONYMOUS)) return true;
  return user !== undefined && (users.has(ANY_USER) || users.has(user));
}
