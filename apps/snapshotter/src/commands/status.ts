import type { ImageStatus, LayerStatus, StatusDocument } from "../documents.ts";
import {
  formatBytes,
  formatDuration,
  plainText,
  type Report,
  renderFacts,
  renderTable,
  shortDigest,
} from "../output.ts";

/** `status`: the daemon's document, and the same as tables. */
export function statusReport(document: StatusDocument): Report {
  const parts = [
    renderFacts(facts(document)),
    section(
      "Kernel",
      renderFacts(document.kernel.map(({ name, value }) => [name, value] as const)),
    ),
    section("Processes", processTable(document)),
    ...document.images.map(imageTable),
    section("Mounts", mountTable(document)),
    section("Steps back since the start", fallbackLines(document)),
    section("Latest errors", errorTable(document)),
  ];
  return { json: document, text: parts.filter((part) => part !== "").join("\n\n") };
}

/** How much of a layer is here: `12.3 MB of 80.0 MB`. */
export function presence({ state, presentBytes, uncompressedBytes }: LayerStatus): string {
  if (state === "pulled") return "unpacked";
  // A layer that was read whole is here, also while nobody has opened it and counted.
  if (uncompressedBytes === undefined) {
    return state === "streamed" ? "all" : formatBytes(presentBytes);
  }
  if (presentBytes >= uncompressedBytes) return `all ${formatBytes(uncompressedBytes)}`;
  return `${formatBytes(presentBytes)} of ${formatBytes(uncompressedBytes)}`;
}

/** Hour and day of an ISO time, as UTC: `2026-11-22 10:15:03`. */
export function shortTime(iso: string): string {
  return iso.replace("T", " ").replace(/(\.\d+)?Z$/, "");
}

function facts(document: StatusDocument): (readonly [string, string])[] {
  const { cache, door } = document;
  const fetched = document.images.flatMap(({ layers }) => layers);
  const bytes = fetched.reduce((total, layer) => total + layer.fetchedBytes, 0);
  const requests = fetched.reduce((total, layer) => total + layer.requests, 0);
  return [
    ["version", document.version],
    [
      "running",
      `${formatDuration(document.uptimeMs)}, since ${shortTime(document.startedAt)} UTC, pid ${document.pid}`,
    ],
    ["root", document.root],
    ["address", document.address],
    ["door", `${door.kind}: ${door.why}`],
    ["cache", cacheText(cache)],
    ["fetched", `${formatBytes(bytes)} in ${count(requests, "request")} since the start`],
  ];
}

function cacheText(cache: StatusDocument["cache"]): string {
  const { quotaBytes, minFreeBytes, lastEviction } = cache;
  const quota = quotaBytes === 0 ? "" : ` of ${formatBytes(quotaBytes)}`;
  const last =
    lastEviction === undefined
      ? ""
      : `; last evicted ${formatBytes(lastEviction.sizeBytes)} at ${shortTime(lastEviction.time)} UTC`;
  const free = `${formatBytes(cache.freeBytes)} free there, want ${formatBytes(minFreeBytes)}`;
  return `${count(cache.layers, "layer")}, ${formatBytes(cache.sizeBytes)}${quota}; ${free}${last}`;
}

function imageTable({ imageReference, manifestDigest, layers }: ImageStatus): string {
  const rows = layers.map((layer) => [
    shortDigest(layer.layerDigest),
    layer.state,
    layer.sizeBytes === undefined ? "?" : formatBytes(layer.sizeBytes),
    presence(layer),
    formatBytes(layer.fetchedBytes),
    String(layer.requests),
  ]);
  const title = `Image ${plainText(imageReference)}\n${manifestDigest}`;
  return `${title}\n${renderTable(["LAYER", "STATE", "BLOB", "HERE", "FETCHED", "REQUESTS"], rows)}`;
}

function mountTable({ mounts }: StatusDocument): string {
  if (mounts.length === 0) return "";
  const rows = mounts.map(({ layer, state, users, isLocal, directory }) => [
    String(layer),
    state,
    String(users),
    isLocal ? "file" : "FUSE",
    directory,
  ]);
  return renderTable(["LAYER", "STATE", "USERS", "FROM", "DIRECTORY"], rows);
}

function processTable({ processes }: StatusDocument): string {
  if (processes.length === 0) return "";
  const rows = processes.map(({ name, pid, residentBytes, restarts }) => [
    name,
    String(pid),
    formatBytes(residentBytes),
    String(restarts),
  ]);
  return renderTable(["PROCESS", "PID", "MEMORY", "RESTARTS"], rows);
}

function fallbackLines({ fallbacks }: StatusDocument): string {
  return renderFacts(
    fallbacks
      .filter((entry) => entry.count > 0)
      .map((entry) => [entry.kind, String(entry.count)] as const),
  );
}

function errorTable({ errors }: StatusDocument): string {
  if (errors.length === 0) return "none";
  return renderFacts(
    errors.map(({ time, code, message, about, times = 1 }) => [
      shortTime(time),
      `${code}: ${message}${about === undefined ? "" : ` (${about})`}${times > 1 ? `, ${times} times` : ""}`,
    ]),
  );
}

function section(title: string, body: string): string {
  return body === "" ? "" : `${title}\n${body}`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
