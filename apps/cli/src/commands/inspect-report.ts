import type { Digest } from "@soci-ts/core";
import type { InspectedImage, InspectedLayer } from "@soci-ts/soci";
import type { PageData, PageSizes } from "../inspect-page/page-data.ts";
import { formatBytes, renderFacts, renderTable } from "../output.ts";
import { visible } from "../visible.ts";
import type { SearchedImage } from "./image-index.ts";

/** What is known of an image; what people and programs see is made of it. */
export interface Inspection {
  readonly searched: SearchedImage;
  readonly inspected: InspectedImage;
  readonly sizes: PageSizes;
  readonly buildTool: string | undefined;
  /** RFC 3339 by the store; as it stands in an annotation else. */
  readonly createdAt: string | undefined;
  /** The same of ztocs, by digest. */
  readonly dates: ReadonlyMap<Digest, string>;
}

function factsOf({ searched, buildTool, createdAt: when }: Inspection): [string, string][] {
  const { source, image, search } = searched;
  const { found } = search;
  return [
    ["image", source.reference],
    ["manifest", image.manifestDescriptor.digest],
    ["index", found?.indexDescriptor.digest ?? "none"],
    ...(found === undefined
      ? []
      : ([
          ["found", `v${found.version}, ${found.reason}`],
          ["built by", buildTool ?? "unknown"],
          ["built", when ?? "unknown"],
        ] as [string, string][])),
  ];
}

/** What lazy loading does, for people. */
export function inspectionText(inspection: Inspection): string {
  const { inspected, sizes, searched } = inspection;
  const { imageBytes, lazyBytes, indexBytes } = sizes;
  const facts = renderFacts([
    ...factsOf(inspection).map(([name, value]): [string, string] => [name, visible(value)]),
    [
      "lazy",
      `${formatBytes(lazyBytes)} of ${formatBytes(imageBytes)}, index ${formatBytes(indexBytes)}`,
    ],
  ]);
  const layers = renderTable(
    ["#", "LAYER", "KIND", "SIZE", "ZTOC", "SPANS", "FILES", "LOADING", "INDEXED BY", "WHEN"],
    inspected.layers.map(({ layer, kind, whyNotLazy, ztoc, stated }, at) => [
      String(at),
      layer.digest.slice(0, 19),
      kind,
      formatBytes(layer.size),
      ztoc === undefined ? "-" : formatBytes(ztoc.descriptor.size),
      String(stated?.spanCount ?? "-"),
      String(stated?.entryCount ?? "-"),
      whyNotLazy === undefined ? "lazy" : `whole: ${visible(whyNotLazy)}`,
      visible(stated?.buildTool ?? "-"),
      dateOf(inspection, ztoc),
    ]),
  );
  const considered = renderTable(
    ["INDEX", "WHERE", "TAKEN", "WHY"],
    searched.search.considered.map(({ digest, origin, taken, why }) => [
      digest ?? "(all)",
      origin,
      taken ? "yes" : "no",
      visible(why),
    ]),
  );
  const files = renderTable(
    ["SIZE", "LAYER", "LARGEST FILES"],
    inspected.largestFiles.map(({ name, layer, sizeBytes }) => [
      formatBytes(sizeBytes),
      String(layer),
      visible(name),
    ]),
  );
  const shown = [
    facts,
    layers,
    ...(searched.search.considered.length > 0 ? [considered] : []),
    ...(inspected.largestFiles.length > 0 ? [files] : []),
  ];
  return shown.join("\n\n");
}

/** The day, where it is a date that can be read. */
function dateOf({ dates }: Inspection, ztoc: InspectedLayer["ztoc"]): string {
  if (ztoc === undefined) return "-";
  const date = dates.get(ztoc.descriptor.digest);
  return date === undefined ? "unknown" : visible(date.slice(0, 10));
}

/** The same for `--json`. */
export function inspectionJson(inspection: Inspection): Record<string, unknown> {
  const { searched, inspected, sizes, buildTool, createdAt: when } = inspection;
  const { source, image, search } = searched;
  const { found } = search;
  return {
    reference: source.reference,
    manifest: image.manifestDescriptor.digest,
    index:
      found === undefined
        ? null
        : {
            digest: found.indexDescriptor.digest,
            version: found.version,
            origin: found.origin,
            reason: found.reason,
            sizeBytes: found.indexDescriptor.size,
            buildTool: buildTool ?? null,
            createdAt: when ?? null,
          },
    considered: search.considered.map(({ digest, ...rest }) => ({
      digest: digest ?? null,
      ...rest,
    })),
    ...sizes,
    layers: inspected.layers.map((layer) => layerJson(layer, inspection)),
    largestFiles: inspected.largestFiles,
  };
}

function layerJson(
  { layer, kind, whyNotLazy, ztoc, stated }: InspectedLayer,
  { dates }: Inspection,
): unknown {
  return {
    digest: layer.digest,
    mediaType: layer.mediaType,
    kind,
    sizeBytes: layer.size,
    lazy: whyNotLazy === undefined,
    ...(whyNotLazy !== undefined && { why: whyNotLazy }),
    ...(ztoc && { ztoc: ztoc.descriptor.digest, ztocSizeBytes: ztoc.descriptor.size }),
    ...(stated && {
      buildTool: stated.buildTool,
      indexedAt: (ztoc && dates.get(ztoc.descriptor.digest)) ?? null,
      spanSizeBytes: stated.spanSizeBytes,
      uncompressedSizeBytes: stated.uncompressedSizeBytes,
      spans: stated.spanCount,
      entries: stated.entryCount,
    }),
  };
}

/** The same for `--html`. */
export function pageData(inspection: Inspection): PageData {
  const { searched, inspected, sizes } = inspection;
  return {
    title: searched.source.reference,
    facts: factsOf(inspection).slice(1),
    sizes,
    layers: inspected.layers.map(({ layer, kind, whyNotLazy, ztoc, stated }) => ({
      digest: layer.digest,
      kind,
      sizeBytes: layer.size,
      whyNotLazy,
      ztocSizeBytes: ztoc?.descriptor.size ?? 0,
      ...(stated && {
        spanCount: stated.spanCount,
        entryCount: stated.entryCount,
        indexedBy: `${stated.buildTool}, ${dateOf(inspection, ztoc)}`,
      }),
    })),
    files: inspected.largestFiles,
    indexes: searched.search.considered.map(({ digest, origin, taken, why }) => ({
      what: digest ?? "the place as a whole",
      origin,
      isTaken: taken,
      why,
    })),
  };
}
