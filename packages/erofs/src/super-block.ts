import { FormatError } from "@soci-ts/core";
import {
  BLOCK_BITS,
  BLOCK_BYTES,
  DEVICE,
  EROFS_FEATURE_INCOMPAT_CHUNKED_FILE,
  EROFS_FEATURE_INCOMPAT_DEVICE_TABLE,
  EROFS_SUPER_MAGIC_V1,
  EROFS_SUPER_OFFSET,
  FORMAT_NAME,
  SUPER,
} from "./format.ts";
import { MAX_DEVICES } from "./limits.ts";
import { getUint64 } from "./numbers.ts";
import type { ErofsDevice } from "./types.ts";

/** What an image says of itself. */
export interface SuperBlock {
  readonly rootNid: number;
  readonly inodeCount: number;
  /** Time of compact inodes. */
  readonly epochSec: number;
  readonly epochNsec: number;
  /** Where the metadata area starts, in bytes. */
  readonly metaOffset: number;
  readonly uuid: Uint8Array;
  readonly devices: readonly ErofsDevice[];
}

const FEATURES = EROFS_FEATURE_INCOMPAT_CHUNKED_FILE | EROFS_FEATURE_INCOMPAT_DEVICE_TABLE;

/**
 * Reads the super block and the device table.
 * @throws FormatError for anything but an image as `encodeErofs` writes them, whole.
 */
export function parseSuperBlock(view: DataView): SuperBlock {
  const at = EROFS_SUPER_OFFSET;
  if (view.byteLength < at + SUPER.size)
    fault(0, `it has ${view.byteLength} bytes, want a super block`);
  const magic = view.getUint32(at, true);
  if (magic !== EROFS_SUPER_MAGIC_V1) fault(at, `the magic number is 0x${magic.toString(16)}`);
  const blockBits = view.getUint8(at + SUPER.blockBits);
  if (blockBits !== BLOCK_BITS)
    fault(at + SUPER.blockBits, `blocks have 2^${blockBits} bytes, want 2^9`);
  const features = view.getUint32(at + SUPER.featureIncompat, true);
  if (features !== FEATURES)
    fault(at + SUPER.featureIncompat, `features are 0x${features.toString(16)}, want 0xc`);
  const imageBytes = view.getUint32(at + SUPER.blockCount, true) * BLOCK_BYTES;
  if (imageBytes !== view.byteLength) {
    fault(at + SUPER.blockCount, `the image has ${view.byteLength} bytes, want ${imageBytes}`);
  }
  const epochSec = Number(view.getBigInt64(at + SUPER.epochSec, true));
  const epochNsec = view.getUint32(at + SUPER.epochNsec, true);
  if (!Number.isSafeInteger(epochSec) || epochNsec > 999_999_999)
    fault(at + SUPER.epochSec, "the epoch is out of range");
  return {
    rootNid: view.getUint16(at + SUPER.rootNid, true),
    inodeCount: getUint64(view, at + SUPER.inodeCount),
    epochSec,
    epochNsec,
    metaOffset: view.getUint32(at + SUPER.metaBlock, true) * BLOCK_BYTES,
    uuid: new Uint8Array(view.buffer, view.byteOffset + at + SUPER.uuid, 16).slice(),
    devices: parseDevices(view),
  };
}

function parseDevices(view: DataView): ErofsDevice[] {
  const at = EROFS_SUPER_OFFSET + SUPER.extraDevices;
  const count = view.getUint16(at, true);
  const start = view.getUint16(EROFS_SUPER_OFFSET + SUPER.deviceTableSlot, true) * DEVICE.size;
  if (count < 1 || count > MAX_DEVICES || start + count * DEVICE.size > view.byteLength) {
    fault(at, `${count} devices at byte ${start}, want 1 to ${MAX_DEVICES} inside the image`);
  }
  return Array.from({ length: count }, (_, index) => {
    const slot = start + index * DEVICE.size;
    const tag = new Uint8Array(view.buffer, view.byteOffset + slot, DEVICE.tagBytes);
    const end = tag.indexOf(0);
    return {
      tag: new TextDecoder().decode(end < 0 ? tag : tag.subarray(0, end)),
      sizeBytes: view.getUint32(slot + DEVICE.blockCount, true) * BLOCK_BYTES,
    };
  });
}

function fault(offset: number, message: string): never {
  throw new FormatError(FORMAT_NAME, offset, message);
}
