import {
  AppError,
  type ByteString,
  byteStringFromText,
  displayByteString,
  FormatError,
  type IoOptions,
} from "@soci-ts/core";
import { createTarScan, type TarEntry, type TarScan } from "@soci-ts/tar";
import type { ArchiveFile } from "./archive-file.ts";
import { ARCHIVE_TAR_LIMITS, MAX_ARCHIVE_ENTRY_BYTES, MAX_ARCHIVE_LINKS } from "./limits.ts";
import { wrapped } from "./wrapped.ts";

/** Where a file's bytes lie in an archive. */
export interface ArchiveEntry {
  readonly offset: number;
  readonly sizeBytes: number;
}

/** A link keeps its target as a path from the archive's top; one that leads out of the archive has none. */
type Place =
  | ({ readonly kind: "file" } & ArchiveEntry)
  | { readonly kind: "link"; readonly target: ByteString | undefined }
  | { readonly kind: "other" };

/** Bytes that are read at a time while headers are looked for. */
const READ_BYTES = 32 * 1024;
const ARCHIVE = "image archive";

/** The files of an archive by name: of equal names the last one counts, as for an unpacker. */
export class ArchiveEntries {
  readonly #name: string;
  readonly #places: ReadonlyMap<string, Place>;

  /** @param name - of the archive, for messages. */
  constructor(name: string, places: ReadonlyMap<string, Place>) {
    this.#name = name;
    this.#places = places;
  }

  /** True if there is an entry of this name, of whatever kind. */
  has(name: string): boolean {
    return this.#places.has(byteStringFromText(name));
  }

  /**
   * The file of this name; a link is none.
   * @throws AppError `not_found`; `invalid_argument` if it is a link or another kind of entry.
   */
  file(name: string): ArchiveEntry {
    const place = this.#find(byteStringFromText(name), name);
    if (place.kind === "file") return place;
    const kind = place.kind === "link" ? "a link" : "not a regular file";
    throw this.#refusal("invalid_argument", name, `it is ${kind}, want a file`);
  }

  /**
   * The file of this name, through links if need be; they are followed inside the archive only.
   * @throws AppError `not_found`; `invalid_argument` if a link leads out of the archive, in a circle, or to no file.
   */
  follow(name: string): ArchiveEntry {
    let path = byteStringFromText(name);
    for (let links = 0; links <= MAX_ARCHIVE_LINKS; links += 1) {
      const place = this.#find(path, name);
      if (place.kind === "file") return place;
      if (place.kind === "other") {
        throw this.#refusal("invalid_argument", name, "it is not a regular file, want one");
      }
      if (place.target === undefined) {
        throw this.#refusal(
          "invalid_argument",
          name,
          "it is a link out of the archive, want one inside",
        );
      }
      path = place.target;
    }
    throw this.#refusal(
      "invalid_argument",
      name,
      `it is a link through more than ${MAX_ARCHIVE_LINKS} links, want fewer`,
    );
  }

  #find(path: ByteString, asked: string): Place {
    const place = this.#places.get(path);
    if (place !== undefined) return place;
    const missing = displayByteString(path);
    const state =
      missing === asked ? "it has no such file" : `it has no ${JSON.stringify(missing)}`;
    throw this.#refusal("not_found", asked, state);
  }

  #refusal(code: "not_found" | "invalid_argument", name: string, state: string): AppError {
    return new AppError(code, `Cannot read ${JSON.stringify(name)} in ${this.#name}: ${state}`);
  }
}

/** Finds the entries of an archive while its bytes go by; nothing is unpacked and no file data is kept. */
export class ArchiveScan {
  readonly #name: string;
  readonly #places = new Map<string, Place>();
  readonly #tar: TarScan;
  #isFirst = true;

  /** @param name - of the archive, for messages. */
  constructor(name: string) {
    this.#name = name;
    this.#tar = createTarScan({
      onEntry: (entry) => this.#add(entry),
      limits: ARCHIVE_TAR_LIMITS,
    });
  }

  /** Bytes that may be skipped instead of pushed. */
  get skippableBytes(): number {
    return this.#tar.skippableBytes;
  }

  /** Like `TarScan.skip`. */
  skip(lengthBytes: number): void {
    this.#tar.skip(lengthBytes);
  }

  /**
   * Takes the next bytes.
   * @throws AppError `invalid_argument` if the archive is compressed; FormatError if it is no tar, or a name leads out of it;
   * `resource_exhausted` if it exceeds a limit.
   */
  push(bytes: Uint8Array): void {
    if (this.#isFirst) this.#refuseCompressed(bytes);
    this.#isFirst = false;
    this.#telling(() => this.#tar.push(bytes));
  }

  /** The entries that were found. @throws FormatError if the archive ends too early. */
  finish(): ArchiveEntries {
    this.#telling(() => this.#tar.finish());
    return new ArchiveEntries(this.#name, this.#places);
  }

  #telling(work: () => unknown): void {
    try {
      work();
    } catch (error) {
      throw wrapped(`Cannot use archive ${this.#name}: ${AppError.from(error).message}`, error);
    }
  }

  #add(entry: TarEntry): void {
    const path = insidePath(entry.name, "");
    const { headerOffset: offset, type, sizeBytes } = entry;
    if (path === undefined) {
      const shown = JSON.stringify(displayByteString(entry.name));
      throw new FormatError(ARCHIVE, offset, `the name ${shown} leads out of the archive`);
    }
    if (type !== "reg") {
      this.#places.set(path, otherPlace(entry, path));
      return;
    }
    if (sizeBytes > MAX_ARCHIVE_ENTRY_BYTES) {
      const shown = JSON.stringify(displayByteString(entry.name));
      throw new AppError(
        "resource_exhausted",
        `${shown} has ${sizeBytes} bytes, want at most ${MAX_ARCHIVE_ENTRY_BYTES}`,
      );
    }
    this.#places.set(path, { kind: "file", offset: entry.dataOffset, sizeBytes });
  }

  #refuseCompressed(bytes: Uint8Array): void {
    const found = COMPRESSIONS.find(({ magic }) => magic.every((byte, at) => bytes[at] === byte));
    if (found === undefined) return;
    const { name, program } = found;
    throw new AppError(
      "invalid_argument",
      `Cannot read archive ${this.#name}: it is compressed with ${name}, which can't be read at an offset; want it plain, for example \`${program} -dc FILE | soci create -\``,
    );
  }
}

/** Finds the entries of an archive; of file data only what lies around headers is read. */
export async function readArchiveEntries(
  archive: ArchiveFile,
  options?: IoOptions,
): Promise<ArchiveEntries> {
  await using opened = await archive.open();
  const { file, sizeBytes } = opened;
  const scan = new ArchiveScan(archive.name);
  const buffer = new Uint8Array(READ_BYTES);
  for (let at = 0; at < sizeBytes; ) {
    options?.signal?.throwIfAborted();
    const skipped = Math.min(scan.skippableBytes, sizeBytes - at);
    scan.skip(skipped);
    at += skipped;
    const { bytesRead } = await file.read(buffer, 0, Math.min(READ_BYTES, sizeBytes - at), at);
    if (bytesRead === 0) break;
    scan.push(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
  return scan.finish();
}

/** First bytes of files that are no tar. */
const COMPRESSIONS: readonly {
  readonly name: string;
  readonly program: string;
  readonly magic: readonly number[];
}[] = [
  { name: "gzip", program: "gzip", magic: [0x1f, 0x8b] },
  { name: "zstd", program: "zstd", magic: [0x28, 0xb5, 0x2f, 0xfd] },
  { name: "xz", program: "xz", magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a] },
  { name: "bzip2", program: "bzip2", magic: [0x42, 0x5a, 0x68] },
];

function otherPlace({ type, linkname }: TarEntry, path: ByteString): Place {
  // A symbolic link's target counts from its own directory, a hard link's from the archive's top.
  if (type === "symlink") return { kind: "link", target: insidePath(linkname, directoryOf(path)) };
  if (type === "hardlink") return { kind: "link", target: insidePath(linkname, "") };
  return { kind: "other" };
}

function directoryOf(path: ByteString): string {
  return path.slice(0, path.lastIndexOf("/") + 1);
}

/** A path from the archive's top without `.`, `..` and empty parts; undefined if it leads out of it, is absolute, or holds a NUL. */
function insidePath(name: ByteString, directory: string): ByteString | undefined {
  if (name.startsWith("/") || name.includes("\0")) return undefined;
  const parts: string[] = [];
  for (const part of `${directory}${name}`.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) return undefined;
  }
  return parts.join("/") as ByteString;
}
