import { AppError } from "@soci-ts/core";
import { formatPlatform, parsePlatform, parseReference } from "@soci-ts/oci";
import {
  type ConvertedImage,
  type ConvertedPlatform,
  convertImage,
  type ImageTarget,
  ociLayoutImageTarget,
  parseOciLayoutName,
  registryImageTarget,
} from "@soci-ts/soci";
import { formatBytes, type Report, renderFacts, renderTable } from "../output.ts";
import type { Session } from "../wire.ts";
import { layerJson, layerProgress, prefetchFacts, prefetchJson } from "./create.ts";
import { notFoundFacts, type PrefetchOptions, readPrefetchFiles } from "./prefetch-files.ts";

/** What `soci convert` is given. */
export interface ConvertOptions extends PrefetchOptions {
  readonly source: string;
  readonly destination: string;
  readonly spanSize: number;
  readonly minLayerSize: number;
  readonly platform: readonly string[];
  readonly allPlatforms?: boolean;
  readonly force?: boolean | undefined;
}

/** `soci convert SOURCE DEST`: writes an image anew, with its SOCI indexes bound to it, under another name. */
export async function convert(session: Session, options: ConvertOptions): Promise<Report> {
  const platforms = options.allPlatforms === true ? "all" : options.platform.map(parsePlatform);
  const prefetchFiles = await readPrefetchFiles(options);
  const target = await openTarget(session, options.destination);
  const converted = await convertImage({
    source: await session.source(options.source),
    target,
    platforms,
    prefetchFiles,
    store: await session.store(),
    spanSizeBytes: options.spanSize,
    minLayerSizeBytes: options.minLayerSize,
    force: options.force,
    onProgress: layerProgress(session.progress),
    signal: session.signal,
    onCopied: ({ descriptor, outcome }) =>
      session.progress
        .start(`blob ${descriptor.digest.slice(0, 19)}`, descriptor.size)
        .finish(outcome === "existed" ? "there already" : outcome),
  });
  return { json: convertedJson(converted), text: convertedText(converted) };
}

/** A digest can't be chosen, and a default tag would be written over unasked. */
async function openTarget(session: Session, name: string): Promise<ImageTarget> {
  const layout = parseOciLayoutName(name);
  if (layout !== undefined) return ociLayoutImageTarget(layout.directory, layout.tag);
  const reference = parseReference(name);
  if (reference.digest === undefined && name.endsWith(`:${reference.tag}`)) {
    return registryImageTarget(await session.client(), reference);
  }
  throw new AppError(
    "invalid_argument",
    `Cannot convert to ${JSON.stringify(name)}: it is no tag, want registry/repository:tag or oci:DIR[:TAG]`,
  );
}

function convertedText(converted: ConvertedImage): string {
  const facts = renderFacts([
    ["image", converted.descriptor.digest],
    ["source", converted.source],
    ["written to", converted.target],
    ["sent", `${converted.blobsSent} blobs, ${formatBytes(converted.bytesSent)}`],
    ...converted.leftOut.map(({ digest }): [string, string] => [
      "left out",
      `${digest}, which the source lists and does not hold`,
    ]),
  ]);
  return [facts, ...converted.platforms.map(platformText)].join("\n\n");
}

function platformText(made: ConvertedPlatform): string {
  const facts = renderFacts([
    ["platform", formatPlatform(made.platform)],
    ["manifest", made.manifestDigest],
    ["index", made.indexDescriptor?.digest ?? "none: all layers were skipped"],
    ...prefetchFacts(made.prefetchLists),
    ...notFoundFacts(made.filesNotFound),
  ]);
  const layers = renderTable(
    ["LAYER", "SIZE", "ZTOC", "SIZE"],
    made.layers.map((layer) => [
      layer.digest,
      formatBytes(layer.sizeBytes),
      layer.ztoc?.digest ?? `skipped: ${layer.skipped}`,
      layer.ztoc === undefined ? "" : formatBytes(layer.ztoc.size),
    ]),
  );
  return `${facts}\n\n${layers}`;
}

function convertedJson(converted: ConvertedImage): Record<string, unknown> {
  const { descriptor, source, target, platforms, leftOut, blobsSent, bytesSent } = converted;
  return {
    image: descriptor.digest,
    sizeBytes: descriptor.size,
    source,
    target,
    platforms: platforms.map((made) => ({
      platform: formatPlatform(made.platform),
      sourceManifest: made.sourceDigest,
      manifest: made.manifestDigest,
      index: made.indexDescriptor?.digest,
      layers: made.layers.map(layerJson),
      ...prefetchJson(made),
    })),
    leftOut: leftOut.map(({ digest }) => digest),
    blobsSent,
    bytesSent,
  };
}
