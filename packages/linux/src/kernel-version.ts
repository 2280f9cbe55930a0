/** A kernel release such as `6.18.44-cloud-amd64`, as numbers. */
export interface KernelVersion {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
}

/** The numbers at the start of `uname -r`; `undefined` if it does not start with two of them. */
export function parseKernelVersion(release: string): KernelVersion | undefined {
  const match = /^(\d{1,4})\.(\d{1,4})(?:\.(\d{1,6}))?/.exec(release);
  if (match === null) return undefined;
  return { major: Number(match[1]), minor: Number(match[2]), patch: Number(match[3] ?? 0) };
}

/** True if `version` is `major.minor` or later. */
export function isAtLeast(version: KernelVersion, major: number, minor: number): boolean {
  return version.major > major || (version.major === major && version.minor >= minor);
}

/** What is known of mounting EROFS straight from a file on a kernel. `unsafe`: it works and may return zeros for data. */
export type FileBackedSupport = "yes" | "unsafe" | "no";

/** Stable series where the first patch release known to have the short-read fix is known to us. */
const SHORT_READ_FIXED_IN: readonly KernelVersion[] = [{ major: 6, minor: 18, patch: 44 }];

/**
 * Whether EROFS file-backed mounts exist (Linux 6.12) and can be trusted: up to early 2026 a reader killed in the middle of a
 * short read left zero-filled pages cached as valid. Fixed in 7.0; of the stable series only those are trusted for which the
 * table says so, because a wrong "yes" is wrong bytes and a wrong "unsafe" merely the slower door.
 */
export function erofsFileBackedSupport(release: string): FileBackedSupport {
  const version = parseKernelVersion(release);
  if (version === undefined || !isAtLeast(version, 6, 12)) return "no";
  if (isAtLeast(version, 7, 0)) return isEarlyCandidate(release) ? "unsafe" : "yes";
  const fixed = SHORT_READ_FIXED_IN.find(
    ({ major, minor }) => major === version.major && minor === version.minor,
  );
  return fixed !== undefined && version.patch >= fixed.patch ? "yes" : "unsafe";
}

/** The fix came with 7.0-rc6. */
function isEarlyCandidate(release: string): boolean {
  return /^7\.0(?:\.0)?-rc[1-5]\b/.test(release);
}
