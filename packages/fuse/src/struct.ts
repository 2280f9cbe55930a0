import { FormatError, safeNumber } from "@soci-ts/core";

/**
 * Field types, all little-endian: `u64` is a size, offset or id and becomes a checked number; `raw64` keeps all 64 bits;
 * `i64` is a time.
 */
export type FieldType = "u16" | "u32" | "i32" | "u64" | "i64" | "raw64";

/** One row of a struct table. */
export type Field = readonly [name: string, type: FieldType];

/** The value of a struct: a number for each field, a bigint for `raw64`. */
export type StructValue<F extends readonly Field[]> = {
  -readonly [E in F[number] as E[0]]: E[1] extends "raw64" ? bigint : number;
};

const FIELD_BYTES: Readonly<Record<FieldType, number>> = {
  u16: 2,
  u32: 4,
  i32: 4,
  u64: 8,
  i64: 8,
  raw64: 8,
};

/** The table of a fixed-size wire struct: its fields in order. */
export interface StructTable {
  readonly name: string;
  readonly sizeBytes: number;
  readonly fields: readonly Field[];
}

/** The value of the struct with table `T`. */
export type ValueOf<T extends StructTable> = StructValue<T["fields"]>;

/**
 * Reads the struct at `offset`.
 * @throws FormatError if the bytes end before it does or a `u64` is above 2^53 − 1.
 */
export function decodeStruct<const T extends StructTable>(
  table: T,
  view: DataView,
  offset: number,
): ValueOf<T> {
  const { name, sizeBytes } = table;
  if (offset + sizeBytes > view.byteLength)
    throw truncated(name, view.byteLength, offset, sizeBytes);
  const value: Record<string, number | bigint> = {};
  for (const row of rowsOf(table)) value[row.name] = readField(view, row.type, offset + row.offset);
  return value as ValueOf<T>;
}

/** Writes the struct at `offset`; fields that are absent become 0. */
export function encodeStruct<const T extends StructTable>(
  table: T,
  view: DataView,
  offset: number,
  value: Partial<ValueOf<T>>,
): void {
  const values = value as Readonly<Record<string, number | bigint | undefined>>;
  for (const row of rowsOf(table)) {
    writeField(view, row.type, offset + row.offset, values[row.name] ?? 0);
  }
}

/** A field and where it lies. */
export interface Row {
  readonly name: string;
  readonly type: FieldType;
  readonly offset: number;
}

const layouts = new WeakMap<StructTable, readonly Row[]>();

function rowsOf(table: StructTable): readonly Row[] {
  const known = layouts.get(table);
  if (known !== undefined) return known;
  const rows = layOut(table);
  layouts.set(table, rows);
  return rows;
}

/**
 * Where the fields of a table lie. The kernel's structs have no hidden padding: each field lies at a multiple of its own size, and
 * the sizes add up to `sizeBytes`.
 * @throws Error if the table breaks that.
 */
export function layOut({ name, sizeBytes, fields }: StructTable): readonly Row[] {
  let offset = 0;
  const rows = fields.map(([field, type]) => {
    const row = { name: field, type, offset };
    if (offset % FIELD_BYTES[type] !== 0) throw new Error(`${name}.${field} is not aligned`);
    offset += FIELD_BYTES[type];
    return row;
  });
  if (offset !== sizeBytes) throw new Error(`${name} has ${offset} bytes, want ${sizeBytes}`);
  return rows;
}

function truncated(name: string, length: number, offset: number, sizeBytes: number): FormatError {
  return new FormatError(
    "FUSE message",
    length,
    `it ends inside ${name} at ${offset}, want ${offset + sizeBytes} bytes`,
  );
}

function readField(view: DataView, type: FieldType, offset: number): number | bigint {
  switch (type) {
    case "u16":
      return view.getUint16(offset, true);
    case "u32":
      return view.getUint32(offset, true);
    case "i32":
      return view.getInt32(offset, true);
    case "u64":
      return safeNumber(view.getBigUint64(offset, true), "FUSE message", offset);
    case "i64":
      return Number(view.getBigInt64(offset, true));
    case "raw64":
      return view.getBigUint64(offset, true);
  }
}

function writeField(view: DataView, type: FieldType, offset: number, value: number | bigint): void {
  switch (type) {
    case "u16":
      view.setUint16(offset, Number(value), true);
      break;
    case "u32":
      view.setUint32(offset, Number(value), true);
      break;
    case "i32":
      view.setInt32(offset, Number(value), true);
      break;
    case "u64":
    case "raw64":
      view.setBigUint64(offset, BigInt(value), true);
      break;
    case "i64":
      view.setBigInt64(offset, BigInt(value), true);
      break;
  }
}
