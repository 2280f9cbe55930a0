// Generated from proto/ by generate-types.mjs; not to be edited.

/** Message `containerd.types.Mount`. */
export interface Mount {
  readonly type: string;
  readonly source: string;
  readonly target: string;
  readonly options: readonly string[];
}

/** Message `containerd.types.Descriptor`. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Message `containerd.types.Platform`. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant: string;
}
