import {
  AppError,
  type ByteString,
  byteStringFrom,
  byteStringFromText,
  displayByteString,
} from "@soci-ts/core";
import type { ErofsDirectory, ErofsFile, ErofsNode } from "@soci-ts/erofs";

/** As many as the kernel follows. */
const MAX_LINKS = 40;

/**
 * The regular file that `path` means in one layer's tree; symbolic links are followed within the layer.
 * @throws AppError `not_found` if the layer does not hold it; `invalid_argument` if it is no regular file.
 */
export function findFile(root: ErofsDirectory, path: string): ErofsFile {
  const found = walk(root, parseDisplayedPath(path), path);
  if (found.kind === "reg") return found;
  throw new AppError(
    "invalid_argument",
    `Cannot read ${JSON.stringify(path)}: it is ${found.kind === "dir" ? "a directory" : `of type ${found.kind}`}, want a regular file`,
  );
}

/**
 * A path's parts, from the text that `soci ztoc info` shows: `\\xNN` stands for a byte that is no UTF-8, `\\\\` for a backslash.
 */
export function parseDisplayedPath(text: string): ByteString[] {
  const pieces = text.split(/(\\x[0-9a-f]{2}|\\\\)/);
  const bytes = pieces.map((piece) => {
    if (piece === "\\\\") return piece.slice(1);
    if (/^\\x[0-9a-f]{2}$/.test(piece)) {
      return byteStringFrom(Uint8Array.of(Number.parseInt(piece.slice(2), 16)));
    }
    return byteStringFromText(piece);
  });
  return partsOf(bytes.join("") as ByteString);
}

function partsOf(path: ByteString): ByteString[] {
  return path.split("/").filter((part) => part !== "" && part !== ".") as ByteString[];
}

function walk(root: ErofsDirectory, parts: readonly ByteString[], shown: string): ErofsNode {
  const todo = [...parts];
  const above: ErofsDirectory[] = [];
  let here: ErofsNode = root;
  let links = 0;
  for (let part = todo.shift(); part !== undefined; part = todo.shift()) {
    if (here.kind !== "dir") throw absent(shown);
    if (part === "..") {
      here = above.pop() ?? root;
      continue;
    }
    const child: ErofsNode | undefined = here.children.get(part);
    if (child === undefined || isWhiteout(child)) throw absent(shown, displayByteString(part));
    if (child.kind !== "symlink") {
      above.push(here);
      here = child;
      continue;
    }
    links += 1;
    if (links > MAX_LINKS) {
      throw new AppError(
        "invalid_argument",
        `Cannot read ${JSON.stringify(shown)}: its links go in a circle`,
      );
    }
    todo.unshift(...partsOf(child.target));
    if (child.target.startsWith("/")) {
      here = root;
      above.length = 0;
    }
  }
  return here;
}

function isWhiteout(node: ErofsNode): boolean {
  return node.kind === "char" && node.devmajor === 0 && node.devminor === 0;
}

function absent(path: string, part?: string): AppError {
  const where = part === undefined ? "" : ` (at ${JSON.stringify(part)})`;
  return new AppError(
    "not_found",
    `Cannot find ${JSON.stringify(path)} in this layer${where}: it may be in another layer of the image`,
  );
}
