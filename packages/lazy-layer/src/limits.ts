const MiB = 2 ** 20;

/** Bounds on what one layer may take. */
export interface LayerLimits {
  /** Largest span, compressed or not, that is inflated in memory. Layers with larger ones are streamed whole (`streamLayer`). */
  readonly maxSpanBytes: number;
  /** Largest uncompressed layer. */
  readonly maxLayerBytes: number;
  /** Memory for spans that are being fetched, inflated and written; one span may exceed it when it is alone. */
  readonly maxInFlightBytes: number;
  /** Range requests at once. */
  readonly maxRequests: number;
  /** Largest range of one request; a longer run of absent spans takes several. */
  readonly maxRequestBytes: number;
  /** Memory for spans that could not be written to the cache file. */
  readonly maxUncachedBytes: number;
  /** Furthest that read-ahead runs before a reader, in uncompressed bytes; 0 switches it off. */
  readonly maxReadAheadBytes: number;
  /** A read fails after this long. */
  readonly readTimeoutMs: number;
  /** A request that brings nothing for this long is given up (and repeated once). */
  readonly stallTimeoutMs: number;
}

/** The bounds in force where a caller names none. */
export const DEFAULT_LAYER_LIMITS: LayerLimits = {
  maxSpanBytes: 64 * MiB,
  maxLayerBytes: 2 ** 40,
  maxInFlightBytes: 64 * MiB,
  maxRequests: 8,
  maxRequestBytes: 32 * MiB,
  maxUncachedBytes: 32 * MiB,
  maxReadAheadBytes: 32 * MiB,
  readTimeoutMs: 60_000,
  stallTimeoutMs: 20_000,
};
