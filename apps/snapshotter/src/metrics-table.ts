import type { MetricSpec } from "@soci-ts/metrics";
import { LATENCY_BUCKETS } from "@soci-ts/snapshotter";

/** A metric of the daemon. */
export interface NodeMetricSpec extends MetricSpec {
  /** True for a histogram that the layer server keeps, whose figures the daemon takes over. */
  readonly isMerged?: boolean;
}

const SECONDS_BUCKETS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300];

/** Methods of the snapshots service. */
const METHODS = [
  "Prepare",
  "View",
  "Mounts",
  "Commit",
  "Remove",
  "Stat",
  "Update",
  "List",
  "Usage",
  "Cleanup",
];
/** gRPC codes by their numbers' names, as they can leave the service. */
const CODES = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
];

/**
 * Every metric there is. No label has a digest, a name of an image or of a registry: the number of series is fixed.
 * `soci_layer_*` and `soci_registry_*` are counted inside the packages.
 */
export const METRICS: Readonly<Record<string, NodeMetricSpec>> = {
  soci_snapshotter_rpcs_total: {
    type: "counter",
    help: "Calls of containerd's snapshots service that were answered, by method and gRPC code.",
    labels: { method: METHODS, code: CODES },
  },
  soci_snapshotter_rpc_duration_seconds: {
    type: "histogram",
    help: "Time from a call to its answer, by method.",
    labels: { method: METHODS },
    buckets: SECONDS_BUCKETS,
  },
  soci_snapshotter_layers_total: {
    type: "counter",
    help: "Image layers that containerd asked for, by what became of them: lazy by an index, streamed by the node, pulled by containerd.",
    labels: { outcome: ["lazy", "streamed", "pulled"] },
  },
  soci_snapshotter_fallbacks_total: {
    type: "counter",
    help: "Steps back on the way to a lazy layer, by kind.",
    labels: {
      kind: [
        "no_index",
        "index_refused",
        "index_failed",
        "ztoc_failed",
        "stream_failed",
        "mount_failed",
      ],
    },
  },
  soci_snapshotter_prepare_duration_seconds: {
    type: "histogram",
    help: "Time in which a layer became mountable, or was handed back, by outcome.",
    labels: { outcome: ["lazy", "streamed", "pulled"] },
    buckets: SECONDS_BUCKETS,
  },
  soci_snapshotter_mount_duration_seconds: {
    type: "histogram",
    help: "Time to mount one layer.",
    buckets: SECONDS_BUCKETS,
  },
  soci_snapshotter_mounted_layers: {
    type: "gauge",
    help: "Mounts of layers now, by door; local: from the layer's own file.",
    labels: { door: ["erofs", "loop", "fuse", "local"] },
  },
  soci_snapshotter_local_files_changed_total: {
    type: "counter",
    help: "Local files that containers read without FUSE and that somebody has changed.",
  },
  soci_snapshotter_snapshots: {
    type: "gauge",
    help: "Snapshots, by kind.",
    labels: { kind: ["active", "view", "committed"] },
  },
  soci_snapshotter_cache_bytes: { type: "gauge", help: "Disk space of all layers on this node." },
  soci_snapshotter_cache_quota_bytes: {
    type: "gauge",
    help: "Disk space that layers' bytes may take; 0: there is no quota.",
  },
  soci_snapshotter_free_bytes: { type: "gauge", help: "Free space of the root's file system." },
  soci_snapshotter_resident_bytes: {
    type: "gauge",
    help: "Resident memory of the daemon's main process.",
  },
  soci_snapshotter_layer_server_restarts: {
    type: "gauge",
    help: "How often the process that answers reads was started again since the keeper started.",
  },
  soci_snapshotter_layer_server_crashes: {
    type: "gauge",
    help: "How many of them ended by their own fault: errors, no memory, no heartbeat; want 0.",
  },
  soci_snapshotter_layer_server_kills_survived: {
    type: "gauge",
    help: "How many of them somebody killed, and readers did not notice.",
  },
  soci_snapshotter_unknown_metrics_total: {
    type: "counter",
    help: "Counts that were given a name which is not in this table; want 0.",
  },
  soci_fuse_poison_requests_total: {
    type: "counter",
    help: "Requests of the kernel that three layer servers crashed over; they were answered with EIO.",
  },
  soci_fuse_replayed_requests_total: {
    type: "counter",
    help: "Requests that a layer server left behind and the next one answered from the journal.",
  },
  soci_fuse_unjournaled_requests_total: {
    type: "counter",
    help: "Requests that were served without being written down, since the journal was full; want 0.",
  },
  soci_layer_requests_total: { type: "counter", help: "Requests for ranges of layers." },
  soci_layer_fetched_bytes_total: {
    type: "counter",
    help: "Compressed bytes of layers that were fetched.",
  },
  soci_layer_read_bytes_total: {
    type: "counter",
    help: "Uncompressed bytes of layers that were handed to the kernel.",
  },
  soci_layer_read_duration_seconds: {
    type: "histogram",
    help: "Time of a read of a layer, by where its bytes came from: the cache, on their way already for another read (coalesced), or fetched for it.",
    labels: { source: ["cache", "coalesced", "fetched"] },
    buckets: LATENCY_BUCKETS,
    isMerged: true,
  },
  soci_layer_read_ahead_spans_total: {
    type: "counter",
    help: "Spans that were fetched ahead of a sequential reader.",
  },
  soci_layer_guessed_spans_total: {
    type: "counter",
    help: "Spans that were fetched on a guess while the link was idle.",
  },
  soci_layer_hydrated_bytes_total: {
    type: "counter",
    help: "Compressed bytes of layers that were fetched in the background.",
  },
  soci_layer_hydrated_layers_total: {
    type: "counter",
    help: "Layers that became whole in the background.",
  },
  soci_layer_prefetched_bytes_total: {
    type: "counter",
    help: "Compressed bytes that were fetched because an image's prefetch list names them.",
  },
  soci_layer_wrong_diff_ids_total: {
    type: "counter",
    help: "Layers whose bytes are not what the image's config says: reads of them fail. Want 0.",
  },
  soci_layer_read_errors_total: {
    type: "counter",
    help: "Reads of layers that failed: the process that made them got EIO.",
  },
  soci_layer_digest_mismatches_total: {
    type: "counter",
    help: "Spans whose bytes did not have the digest of the index.",
  },
  soci_layer_bad_spans_total: {
    type: "counter",
    help: "Spans that did not inflate to what the index says.",
  },
  soci_layer_corrupt_chunks_total: {
    type: "counter",
    help: "Chunks of the cache whose checksum was wrong; they were fetched again.",
  },
  soci_layer_cache_errors_total: {
    type: "counter",
    help: "Failures to write the cache; the reads were served from memory.",
  },
  soci_layer_evicted_bytes_total: {
    type: "counter",
    help: "Bytes of disk that cached layers gave up, to be fetched again when they are read.",
  },
  soci_layer_evicted_chunks_total: {
    type: "counter",
    help: "Chunks of layers in use that were evicted.",
  },
  soci_registry_requests_total: { type: "counter", help: "Requests to registries." },
  soci_registry_received_bytes_total: { type: "counter", help: "Bytes of bodies from registries." },
  soci_registry_host_failures_total: {
    type: "counter",
    help: "Hosts of a registry (mirrors) that failed, so that the next one was asked.",
  },
  soci_registry_retries_total: {
    type: "counter",
    help: "Requests to registries that were made again after a failure.",
  },
};
