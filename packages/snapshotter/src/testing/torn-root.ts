import {
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

/** What a power cut, or a disk that lied about a flush, does to a file. */
export type Tear = "truncated" | "zeros at its end" | "lost" | "an older copy";

/** All of them. */
export const TEARS: readonly Tear[] = ["truncated", "zeros at its end", "lost", "an older copy"];

/** Mount points, below which are no files of the root, and what is there only while a layer server gets ready. */
const NOT_COPIED: readonly string[] = ["f", "l", "warm-up"];

/** Copies of a daemon's root, taken as it runs: now and then, one after the other. */
export class RootCopies {
  readonly #root: string;
  readonly #directory: string;
  #count = 0;

  constructor(root: string, directory: string) {
    this.#root = root;
    this.#directory = directory;
  }

  /** Copies the root. The copy taken last is what {@link RootCopies.restore} brings back, the first what files are reverted to. */
  take(): void {
    copyRoot(this.#root, join(this.#directory, String(this.#count)));
    this.#count += 1;
  }

  /** Puts the last copy in the root's place. Nothing may be mounted there. */
  restore(): void {
    rmSync(this.#root, { recursive: true, force: true });
    copyRoot(this.#last, this.#root);
  }

  /** All files, relative to the root. */
  files(): readonly string[] {
    const entries = readdirSync(this.#last, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile());
    return files.map(({ parentPath, name }) => join(parentPath, name).slice(this.#last.length + 1));
  }

  /** Damages one file of the root; `fraction` (of 1) says where. */
  tear(file: string, tear: Tear, fraction: number): void {
    const path = join(this.#root, file);
    const bytes = readFileSync(path);
    const at = Math.floor(bytes.length * fraction);
    const older = join(this.#directory, "0", file);
    if (tear === "truncated") truncateSync(path, at);
    else if (tear === "zeros at its end") writeFileSync(path, bytes.fill(0, at));
    else if (tear === "lost") truncateSync(path, 0);
    else if (existsSync(older)) cpSync(older, path);
    else rmSync(path);
  }

  get #last(): string {
    return join(this.#directory, String(this.#count - 1));
  }
}

function copyRoot(from: string, to: string): void {
  for (const name of readdirSync(from)) {
    if (NOT_COPIED.includes(name)) continue;
    cpSync(join(from, name), join(to, name), { recursive: true });
  }
}
