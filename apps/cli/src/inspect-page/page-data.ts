/** What the page shows of a layer. Texts are as they come from the image. */
export interface PageLayer {
  readonly digest: string;
  readonly kind: string;
  readonly sizeBytes: number;
  /** Undefined if it is lazy. */
  readonly whyNotLazy: string | undefined;
  /** Zero without a ztoc. */
  readonly ztocSizeBytes: number;
  /** Spans, files, and by what it was indexed and when: absent without a ztoc that can be used. */
  readonly spanCount?: number;
  readonly entryCount?: number;
  readonly indexedBy?: string;
}

/** A file of a lazy layer. */
export interface PageFile {
  readonly name: string;
  /** Number of its layer, from 0 at the bottom. */
  readonly layer: number;
  readonly sizeBytes: number;
}

/** An index that was looked at. */
export interface PageIndex {
  /** The digest, or the place as a whole. */
  readonly what: string;
  readonly origin: string;
  readonly isTaken: boolean;
  readonly why: string;
}

/** All that the page shows. */
export interface PageData {
  readonly title: string;
  readonly facts: readonly (readonly [name: string, value: string])[];
  readonly layers: readonly PageLayer[];
  readonly files: readonly PageFile[];
  readonly indexes: readonly PageIndex[];
  readonly sizes: PageSizes;
}

/** Sums over the layers. */
export interface PageSizes {
  readonly imageBytes: number;
  readonly lazyBytes: number;
  /** Index manifest and ztocs: what is fetched before anything is mounted. */
  readonly indexBytes: number;
}
