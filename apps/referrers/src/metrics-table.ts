import type { MetricTable } from "@soci-ts/metrics";

/** Kinds of requests: what a path under `/v2/` stands for, and the other paths. */
export const ROUTE_KINDS = [
  "base",
  "blob",
  "upload",
  "uploads",
  "manifest",
  "tags",
  "referrers",
  "healthz",
  "readyz",
  "metrics",
  "openapi",
  "token",
] as const;

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const STATUSES = [
  ...["200", "201", "202", "204", "206", "304", "307"],
  ...["400", "401", "403", "404", "405", "409", "413", "414", "416", "429"],
  ...["500", "502", "503", "504", "507"],
];
const SECONDS_BUCKETS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300];

/** Every metric there is. No label has a digest or the name of a repository: the number of series is fixed. */
export const METRICS: MetricTable = {
  soci_referrers_requests_total: {
    type: "counter",
    help: "Requests that ended, by method, kind of path and status; status aborted: the client left before the end of the answer.",
    labels: { method: METHODS, route: ROUTE_KINDS, status: [...STATUSES, "aborted"] },
  },
  soci_referrers_request_duration_seconds: {
    type: "histogram",
    help: "Time from a request to the end of its answer, by kind of path.",
    labels: { route: ROUTE_KINDS },
    buckets: SECONDS_BUCKETS,
  },
  soci_referrers_requests_under_way: { type: "gauge", help: "Requests that have not ended." },
  soci_referrers_received_bytes_total: {
    type: "counter",
    help: "Bytes of requests, headers included.",
  },
  soci_referrers_sent_bytes_total: {
    type: "counter",
    help: "Bytes of answers, headers included.",
  },
  soci_referrers_gc_runs_total: {
    type: "counter",
    help: "Garbage collections that ended, by outcome.",
    labels: { outcome: ["done", "failed"] },
  },
  soci_referrers_gc_duration_seconds: {
    type: "histogram",
    help: "Time of a garbage collection; it makes room for requests all the while.",
    buckets: SECONDS_BUCKETS,
  },
  soci_referrers_gc_removed_total: {
    type: "counter",
    help: "What garbage collections removed: blobs, untagged manifests, referrers whose subject is gone.",
    labels: { kind: ["blob", "manifest", "referrer"] },
  },
  soci_referrers_gc_freed_bytes_total: {
    type: "counter",
    help: "Bytes of blobs that garbage collections removed.",
  },
  soci_referrers_upstream_requests_total: {
    type: "counter",
    help: "Requests to upstreams, redirects and logins not counted.",
  },
  soci_referrers_upstream_failures_total: {
    type: "counter",
    help: "Those of them that got no answer: not reached, or not in time.",
  },
  soci_referrers_upstream_received_bytes_total: {
    type: "counter",
    help: "Bytes of the content that upstreams answered with.",
  },
  soci_referrers_cache_bytes: {
    type: "gauge",
    help: "Bytes that the cache of upstreams' content takes, with what is on its way.",
  },
  soci_referrers_cache_evictions_total: {
    type: "counter",
    help: "Entries of that cache that went to make room for others.",
  },
  soci_referrers_free_bytes: { type: "gauge", help: "Free space of the root's file system." },
  soci_referrers_resident_bytes: { type: "gauge", help: "Resident memory of the process." },
  soci_referrers_read_only: { type: "gauge", help: "1 if pushes and deletes are refused, else 0." },
  soci_referrers_unknown_metrics_total: {
    type: "counter",
    help: "Counts that were given a name which is not in this table; want 0.",
  },
};
