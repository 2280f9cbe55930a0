import type { ByteString } from "@soci-ts/core";
import type { ErofsNode } from "@soci-ts/erofs";
import { MAX_LINKS_WALKED } from "./limits.ts";

const UP = ".." as ByteString;

/** A path's components with `.`, `..` and empty ones worked out in the text alone; `..` at the root stays there. */
export function cleanPath(path: ByteString): ByteString[] {
  const clean: ByteString[] = [];
  for (const component of path.split("/") as ByteString[]) {
    if (component === UP) clean.pop();
    else if (component !== "" && component !== ".") clean.push(component);
  }
  return clean;
}

/** How {@link resolvePath} finds what is where. */
export interface PathWalk {
  /** What `name` is in the directory `parent`, which stands at `path`; `parent` is undefined where nothing is. */
  step(
    parent: ErofsNode | undefined,
    path: readonly ByteString[],
    name: ByteString,
  ): ErofsNode | undefined;
  /** Whether a link at the very end is followed too. */
  readonly followLast: boolean;
  /** Called once for each component walked; throws when there were too many. */
  spend(): void;
}

/** A path without symbolic links, and what stands there. */
export interface ResolvedPath {
  readonly path: readonly ByteString[];
  readonly node: ErofsNode | undefined;
}

/**
 * Follows the symbolic links of a path inside the root; what does not exist counts as no link.
 * @returns undefined after too many links.
 */
export function resolvePath(
  root: ErofsNode | undefined,
  path: readonly ByteString[],
  walk: PathWalk,
): ResolvedPath | undefined {
  const pending = path.toReversed();
  const resolved: ByteString[] = [];
  const nodes: (ErofsNode | undefined)[] = [];
  let links = 0;
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    walk.spend();
    if (name === UP) {
      resolved.pop();
      nodes.pop();
      continue;
    }
    const node = walk.step(nodes.length === 0 ? root : nodes.at(-1), resolved, name);
    if (node?.kind !== "symlink" || (pending.length === 0 && !walk.followLast)) {
      resolved.push(name);
      nodes.push(node);
      continue;
    }
    if (++links > MAX_LINKS_WALKED) return undefined;
    if (node.target.startsWith("/")) {
      resolved.length = 0;
      nodes.length = 0;
    }
    for (const component of cleanTarget(node.target).reverse()) pending.push(component);
  }
  return { path: resolved, node: nodes.length === 0 ? root : nodes.at(-1) };
}

/** A link target's components; unlike in {@link cleanPath}, leading `..` stay. */
function cleanTarget(target: ByteString): ByteString[] {
  const clean: ByteString[] = [];
  for (const component of target.split("/") as ByteString[]) {
    if (component === UP && clean.length > 0 && clean.at(-1) !== UP) clean.pop();
    else if (component !== "" && component !== ".") clean.push(component);
  }
  return clean;
}
