// Generated from proto/ by generate-types.mjs; not to be edited.

/** Message `google.protobuf.Empty`. */
export type Empty = Readonly<Record<string, never>>;

/** Message `google.protobuf.FieldMask`. */
export interface FieldMask {
  readonly paths: readonly string[];
}

/** Message `google.protobuf.Timestamp`. */
export interface Timestamp {
  readonly seconds: number;
  readonly nanos: number;
}

/** Message `google.protobuf.Any`. */
export interface Any {
  readonly type_url: string;
  readonly value: Buffer;
}
