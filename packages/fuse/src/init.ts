import { AppError, FormatError } from "@soci-ts/core";
import {
  FUSE_INIT_FLAGS,
  FUSE_KERNEL_MINOR_VERSION,
  FUSE_KERNEL_VERSION,
  type InitFlagName,
  MAX_PAGES,
  MAX_WRITE_BYTES,
} from "./protocol.ts";
import type { ValueOf } from "./struct.ts";
import type { FUSE_INIT_OUT } from "./structs.ts";

/** The oldest protocol served: 7.28 (Linux 4.20) brought 1 MiB reads. */
const OLDEST_MINOR = 28;

/** What the kernel offers in INIT. */
export interface InitOffer {
  readonly major: number;
  readonly minor: number;
  readonly maxReadaheadBytes: number;
  /** All 64 flag bits. */
  readonly flags: bigint;
}

/**
 * What was agreed on for the life of the mount. A process that takes a mount over needs it, because INIT comes only once. Survives JSON:
 * {@link parseNegotiated} reads it back.
 */
export interface Negotiated {
  readonly minor: number;
  readonly maxReadaheadBytes: number;
  readonly flags: readonly InitFlagName[];
}

/** The format of {@link Negotiated} as JSON. One without a number has format 1. */
export const NEGOTIATED_FORMAT = 1;

/** Flags in the upper half, which exist only with INIT_EXT. */
const EXTENDED: readonly InitFlagName[] = ["HAS_RESEND", "ALLOW_IDMAP"];

const FLAG_NAMES = Object.keys(FUSE_INIT_FLAGS) as InitFlagName[];

/**
 * Answers the kernel's offer: every flag of {@link FUSE_INIT_FLAGS} that it has, and the kernel's own read-ahead bound. With ALLOW_IDMAP, the
 * file system has to be mounted with `default_permissions`.
 * @param resend - `off`: without HAS_RESEND, whether or not the kernel has it.
 * @throws AppError `unimplemented` for a protocol before 7.28.
 */
export function negotiateInit(offer: InitOffer, resend: "auto" | "off" = "auto"): Negotiated {
  if (offer.major !== FUSE_KERNEL_VERSION || offer.minor < OLDEST_MINOR) {
    throw new AppError(
      "unimplemented",
      `Cannot serve FUSE ${offer.major}.${offer.minor}: want 7.${OLDEST_MINOR} or later (Linux 4.20)`,
    );
  }
  const offered = FLAG_NAMES.filter((name) => (offer.flags & flagBit(name)) !== 0n);
  const isExtended = offered.includes("INIT_EXT");
  const isWanted = (name: InitFlagName): boolean => resend === "auto" || name !== "HAS_RESEND";
  return {
    minor: Math.min(offer.minor, FUSE_KERNEL_MINOR_VERSION),
    maxReadaheadBytes: offer.maxReadaheadBytes,
    flags: offered.filter((name) => (isExtended || !EXTENDED.includes(name)) && isWanted(name)),
  };
}

/** INIT's answer: what was negotiated, and no limit of ours on background requests (it would let one hung layer starve another). */
export function initReply(negotiated: Negotiated): Partial<ValueOf<typeof FUSE_INIT_OUT>> {
  const bits = negotiated.flags.reduce((sum, name) => sum | flagBit(name), 0n);
  return {
    major: FUSE_KERNEL_VERSION,
    minor: negotiated.minor,
    max_readahead: negotiated.maxReadaheadBytes,
    flags: Number(BigInt.asUintN(32, bits)),
    flags2: Number(bits >> 32n),
    max_background: 65_535,
    congestion_threshold: 65_535,
    max_write: MAX_WRITE_BYTES,
    time_gran: 1,
    max_pages: MAX_PAGES,
  };
}

/** What was negotiated, as text for {@link parseNegotiated}. */
export function formatNegotiated(negotiated: Negotiated): string {
  return JSON.stringify({ format: NEGOTIATED_FORMAT, ...negotiated });
}

/**
 * What another process of this program negotiated, from parsed JSON.
 * @throws FormatError if it is not that, or has a flag that is not known here; AppError `failed_precondition` if a newer version wrote it.
 */
export function parseNegotiated(value: unknown): Negotiated {
  const fields = (value ?? {}) as Partial<Negotiated> & { readonly format?: unknown };
  const { format = 1, minor, maxReadaheadBytes, flags } = fields;
  if (Number.isSafeInteger(format) && Number(format) > NEGOTIATED_FORMAT) {
    throw new AppError(
      "failed_precondition",
      `Cannot take a FUSE connection over: its record has format ${format}, want ${NEGOTIATED_FORMAT} or lower; a newer version wrote it`,
    );
  }
  const isWhole = Number.isSafeInteger(minor) && Number.isSafeInteger(maxReadaheadBytes);
  const isKnown = Array.isArray(flags) && flags.every((name) => FLAG_NAMES.includes(name));
  if (format !== NEGOTIATED_FORMAT || !isWhole || !isKnown) {
    throw new FormatError("negotiated FUSE options", 0, "a field is missing or wrong");
  }
  return { minor: Number(minor), maxReadaheadBytes: Number(maxReadaheadBytes), flags };
}

function flagBit(name: InitFlagName): bigint {
  return 1n << BigInt(FUSE_INIT_FLAGS[name]);
}
