import type { ExplainDocument, ExplainLayer } from "../documents.ts";
import { formatBytes, plainText, type Report, shortDigest, wrap } from "../output.ts";
import { presence, shortTime } from "./status.ts";

/** `explain`: the daemon's document, and the same in plain words; it ends with advice. */
export function explainReport(document: ExplainDocument): Report {
  const advice = adviceFor(document);
  const parts = [
    headText(document),
    indexText(document),
    ...document.layers.map((layer, at) => layerText(layer, at, document.layers.length)),
    advice.map((line) => bullet(line, "")).join("\n"),
  ];
  return { json: { ...document, advice }, text: parts.join("\n\n") };
}

/** What a person can do for an image, most useful first; never empty. */
export function adviceFor(document: ExplainDocument): readonly string[] {
  const { layers, considered, imageReference } = document;
  const advice: string[] = [];
  const failing = layers.filter(({ failures }) => failures.length > 0);
  if (failing.length > 0) {
    advice.push(
      `${count(failing.length, "layer")} failed lately: see above. \`soci doctor ${imageReference}\` tests the way to the registry.`,
      ...remediesFor(failing),
    );
  }
  const isRefused = considered.length > 0 && considered.every(({ taken }) => !taken);
  if (isRefused) {
    advice.push(
      "There are indexes, and none was taken: see why above. The [[trust]] entries of the configuration decide which ones may be.",
    );
  }
  const pulled = layers.filter(({ state }) => state === "pulled");
  if (pulled.length > 0) {
    advice.push(
      `${count(pulled.length, "layer")} had to be pulled whole, and once one is, those above it are fetched by containerd too. The reasons stand above; after they are mended, remove the image and pull it again.`,
    );
  }
  const unindexed = layers.filter(({ state }) => state === "streaming" || state === "streamed");
  if (unindexed.length > 0 && considered.length === 0) {
    advice.push(
      `The image has no index, so its layers are read whole by the node. \`soci create --push ${imageReference}\` gives it one, without altering the image; pulls after that are lazy.`,
    );
  }
  if (layers.length === 0) {
    advice.push("Nothing is known of its layers: was it pulled with this snapshotter?");
  }
  return advice.length > 0 ? advice : ["Nothing to do: all layers are as they should be."];
}

/** What to do about failed reads, by their error code. Nothing has to be done afterwards: each read tries again. */
const REMEDIES: Readonly<Record<string, string>> = {
  not_found: "The registry has no such blob any more: push the image there again.",
  unauthenticated:
    "The registry wants a login: renew the credentials where they are; the next read finds them.",
  permission_denied:
    "The registry refuses the node: see that its credentials may pull; the next read finds new ones.",
  deadline_exceeded:
    "The registry does not answer in time: see to it, or name a mirror in hosts.toml.",
  unavailable:
    "The registry cannot be reached, or fails: see to it, or name a mirror in hosts.toml.",
  resource_exhausted:
    "The registry limits how much may be asked of it: wait, raise the limit, or name a mirror in hosts.toml.",
  data_loss:
    "What the registry sends is not what the image's digests name: push the image there again, and look at what is in between.",
};

function remediesFor(failing: readonly ExplainLayer[]): readonly string[] {
  const codes = failing.flatMap(({ failures }) => failures[0]?.code ?? []);
  return [...new Set(codes)].flatMap((code) => REMEDIES[code] ?? []);
}

const GONE =
  "containerd has no snapshots of it: its pull failed or goes on, or it was removed. This is what the daemon remembers.";

function headText({
  kind,
  isGone,
  subject,
  imageReference,
  manifestDigest,
  layers,
}: ExplainDocument): string {
  const lazy = layers.filter(({ state }) => state !== "pulled").length;
  const verdict =
    lazy === layers.length
      ? "all of them start before they are downloaded"
      : `${lazy} of them ${lazy === 1 ? "starts" : "start"} before ${lazy === 1 ? "it is" : "they are"} downloaded`;
  return [
    `${kind === "image" ? "Image" : "Snapshot"} ${plainText(subject)}`,
    kind === "snapshot" ? wrap(`It belongs to ${plainText(imageReference)}.`, "") : "",
    wrap(`Manifest ${manifestDigest}.`, ""),
    isGone ? wrap(GONE, "") : "",
    `${count(layers.length, "layer")}; ${verdict}.`,
  ]
    .filter((line) => line !== "")
    .join("\n");
}

function indexText({ considered, trust }: ExplainDocument): string {
  const lines = considered.map(({ digest, origin, taken, why }) =>
    bullet(
      `${taken ? "taken" : "not taken"}: ${digest}, from ${plainText(origin)}: ${plainText(why)}`,
    ),
  );
  const head =
    considered.length === 0
      ? "Index: none was found."
      : `Index: ${considered.length === 1 ? "one was" : `${considered.length} were`} found.`;
  return [head, bullet(`trust: ${plainText(trust)}`), ...lines].join("\n");
}

function layerText(layer: ExplainLayer, at: number, of: number): string {
  const size = layer.sizeBytes === undefined ? "" : `, ${formatBytes(layer.sizeBytes)}`;
  const lines = [
    `Layer ${at + 1} of ${of}: ${shortDigest(layer.layerDigest)}${size}`,
    bullet(STATE_WORDS[layer.state]),
    ...layer.steps.map(({ tried, worked, why }) =>
      bullet(`${STEP_WORDS[tried]}: ${worked ? "yes" : "no"}, ${plainText(why)}`),
    ),
    ...indexOf(layer),
    ...fetchedOf(layer),
    ...layer.failures.map(({ time, code, message, times = 1 }) =>
      bullet(
        `failed ${shortTime(time)} UTC: ${code}: ${plainText(message)}${times > 1 ? ` (${times} times)` : ""}`,
      ),
    ),
    bullet(`next: ${nextOf(layer)}`),
  ];
  return lines.join("\n");
}

const STATE_WORDS: Readonly<Record<ExplainLayer["state"], string>> = {
  lazy: "lazy: its bytes come when they are read",
  streaming: "being read whole by the node; it can be mounted and read already",
  streamed: "not lazy, but all here: the node has read it whole and indexed it",
  pulled: "not lazy: left to containerd, which downloads and unpacks it",
};

const STEP_WORDS: Readonly<Record<"index" | "stream" | "pull", string>> = {
  index: "by an index",
  stream: "read whole by the node",
  pull: "left to containerd",
};

function indexOf({ indexDigest, indexOrigin }: ExplainLayer): string[] {
  if (indexDigest === undefined) return [];
  return [
    bullet(
      `index ${shortDigest(indexDigest)}${indexOrigin === undefined ? "" : `, from ${plainText(indexOrigin)}`}`,
    ),
  ];
}

function fetchedOf(layer: ExplainLayer): string[] {
  if (layer.state === "pulled") return [];
  const hosts = layer.hosts.length === 0 ? "" : ` from ${layer.hosts.map(plainText).join(", ")}`;
  return [
    bullet(
      `here: ${presence(layer)}; fetched ${formatBytes(layer.fetchedBytes)} in ${count(layer.requests, "request")}${hosts}`,
    ),
  ];
}

/** What will happen with a layer if nobody does anything. */
function nextOf(layer: ExplainLayer): string {
  const retry =
    layer.retryAt === undefined ? "" : ` It is tried again at ${shortTime(layer.retryAt)} UTC.`;
  const isComplete =
    layer.uncompressedBytes !== undefined && layer.presentBytes >= layer.uncompressedBytes;
  if (layer.state === "pulled") return `it stays as it is until the image is removed.${retry}`;
  if (layer.state === "streaming") {
    return `the rest is read; then the layer's digest is checked as a whole.${retry}`;
  }
  if (isComplete) return "the registry is not needed for it any more.";
  const mount = layer.mounted
    ? "reads fetch what is not here yet."
    : "it is mounted when a container needs it; then reads fetch what is not here yet.";
  return `${mount}${retry}`;
}

function bullet(text: string, indent = "  "): string {
  return wrap(text, `${indent}- `, `${indent}  `);
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
