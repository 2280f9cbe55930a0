import { AppError } from "@soci-ts/core";
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

/** What was agreed on for the life of the mount. A process that takes a mount over needs it, because INIT comes only once. */
export interface Negotiated {
  readonly minor: number;
  readonly flags: ReadonlySet<InitFlagName>;
  readonly reply: Partial<ValueOf<typeof FUSE_INIT_OUT>>;
}

/**
 * Answers the kernel's offer: every flag of {@link FUSE_INIT_FLAGS} that it has, no limit of ours on background requests (they
 * would let one hung layer starve another), and the kernel's own read-ahead bound.
 * @throws AppError `unimplemented` for a protocol before 7.28.
 */
export function negotiateInit(offer: InitOffer): Negotiated {
  if (offer.major !== FUSE_KERNEL_VERSION || offer.minor < OLDEST_MINOR) {
    throw new AppError(
      "unimplemented",
      `Cannot serve FUSE ${offer.major}.${offer.minor}: want 7.${OLDEST_MINOR} or later (Linux 4.20)`,
    );
  }
  const names = Object.keys(FUSE_INIT_FLAGS) as InitFlagName[];
  const flags = new Set(names.filter((name) => hasFlag(offer.flags, name)));
  if (!flags.has("INIT_EXT")) flags.delete("HAS_RESEND");
  const bits = [...flags].reduce((sum, name) => sum | flagBit(name), 0n);
  const minor = Math.min(offer.minor, FUSE_KERNEL_MINOR_VERSION);
  const reply = {
    major: FUSE_KERNEL_VERSION,
    minor,
    max_readahead: offer.maxReadaheadBytes,
    flags: Number(BigInt.asUintN(32, bits)),
    flags2: Number(bits >> 32n),
    max_background: 65_535,
    congestion_threshold: 65_535,
    max_write: MAX_WRITE_BYTES,
    time_gran: 1,
    max_pages: MAX_PAGES,
  };
  return { minor, flags, reply };
}

function flagBit(name: InitFlagName): bigint {
  return 1n << BigInt(FUSE_INIT_FLAGS[name]);
}

function hasFlag(flags: bigint, name: InitFlagName): boolean {
  return (flags & flagBit(name)) !== 0n;
}
