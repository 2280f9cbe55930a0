import { OPCODES, type OpcodeName } from "../protocol.ts";
import { encodeStruct, type StructTable, type ValueOf } from "../struct.ts";
import { FUSE_IN_HEADER, FUSE_INIT_IN, FUSE_INIT_IN_EXT } from "../structs.ts";

/** A struct's bytes. */
export function structBytes<const T extends StructTable>(
  table: T,
  value: Partial<ValueOf<T>>,
): Uint8Array {
  const bytes = new Uint8Array(table.sizeBytes);
  encodeStruct(table, new DataView(bytes.buffer), 0, value);
  return bytes;
}

/** A request as the kernel writes it. */
export function message(
  opcode: OpcodeName | number,
  unique: bigint,
  nodeid: number,
  ...body: readonly Uint8Array[]
): Uint8Array {
  const rest = Buffer.concat(body);
  const number = typeof opcode === "number" ? opcode : OPCODES[opcode];
  const len = FUSE_IN_HEADER.sizeBytes + rest.length;
  const header = structBytes(FUSE_IN_HEADER, { len, opcode: number, unique, nodeid });
  return Buffer.concat([header, rest]);
}

/** INIT of a kernel with the given flags. */
export function initMessage(minor: number, flags: bigint): Uint8Array {
  const fixed = structBytes(FUSE_INIT_IN, {
    major: 7,
    minor,
    max_readahead: 131_072,
    flags: Number(flags & 0xffff_ffffn),
  });
  const extension = structBytes(FUSE_INIT_IN_EXT, { flags2: Number(flags >> 32n) });
  return message("INIT", 2n, 0, fixed, extension, new Uint8Array(44));
}

/** A name with its zero byte. */
export function nameBytes(name: string): Uint8Array {
  return Buffer.from(`${name}\0`, "latin1");
}
