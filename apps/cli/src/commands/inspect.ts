import { writeFile } from "node:fs/promises";
import { ANNOTATION_BUILD_TOOL, type Manifest } from "@soci-ts/oci";
import {
  type FoundIndex,
  type InspectedImage,
  type InspectedLayer,
  inspectImage,
} from "@soci-ts/soci";
import type { PageData, PageSizes } from "../inspect-page/page-data.ts";
import { formatBytes, type Report, renderFacts, renderTable } from "../output.ts";
import { visible } from "../visible.ts";
import type { Session } from "../wire.ts";
import { type SearchedImage, searchImage } from "./image-index.ts";

/** Options of `soci inspect`. */
export interface InspectOptions {
  readonly platform?: string;
  /** File to write the page to. */
  readonly html?: string;
}

const MAX_FILES = 20;
/** On an index manifest by some builders: when it was made (image-spec v1.1.1, annotations.md). */
const ANNOTATION_CREATED = "org.opencontainers.image.created";

/** What is known of an image; what people and programs see is made of it. */
interface Inspection {
  readonly searched: SearchedImage;
  readonly inspected: InspectedImage;
  readonly sizes: PageSizes;
  readonly buildTool: string | undefined;
  /** RFC 3339 by the store; as it stands in an annotation else. */
  readonly createdAt: string | undefined;
}

/** `soci inspect REF`: what lazy loading would do for an image, as a table, a document, and a page. */
export async function inspect(
  session: Session,
  name: string,
  options: InspectOptions,
): Promise<Report> {
  const searched = await searchImage(session, name, options.platform);
  const { image, search, readZtoc } = searched;
  const { found } = search;
  const { signal } = session;
  const inspected = await inspectImage({
    layers: image.manifest.layers,
    index: found?.index,
    readZtoc,
    maxFiles: MAX_FILES,
    signal,
  });
  const inspection: Inspection = {
    searched,
    inspected,
    sizes: sumSizes(inspected, found),
    buildTool: found?.index.manifest.annotations?.[ANNOTATION_BUILD_TOOL],
    createdAt: found && (await createdAt(session, found)),
  };
  const text = inspectionText(inspection);
  const { html } = options;
  if (html === undefined) return { json: inspectionJson(inspection), text };
  const { renderPage } = await import("../inspect-page/page.ts");
  await writeFile(html, renderPage(pageData(inspection)), { signal });
  return {
    json: { ...inspectionJson(inspection), html },
    text: `${text}\n\npage written to ${html}`,
  };
}

/** The store knows of its own indexes; others may say so themselves. */
async function createdAt(session: Session, found: FoundIndex): Promise<string | undefined> {
  const store = await session.store();
  const record = store.getIndex(found.indexDescriptor.digest);
  return record?.createdAt.toISOString() ?? createdAnnotation(found.index.manifest);
}

function createdAnnotation({ annotations = {} }: Manifest): string | undefined {
  return annotations[ANNOTATION_CREATED];
}

function sumSizes({ layers }: InspectedImage, found: FoundIndex | undefined): PageSizes {
  const sum = (of: readonly InspectedLayer[]): number =>
    of.reduce((bytes, { layer }) => bytes + layer.size, 0);
  const ztocs = new Map(layers.map(({ ztoc }) => [ztoc?.descriptor.digest, ztoc?.descriptor.size]));
  const ztocBytes = [...ztocs.values()].reduce<number>((bytes, size) => bytes + (size ?? 0), 0);
  return {
    imageBytes: sum(layers),
    lazyBytes: sum(layers.filter(({ whyNotLazy }) => whyNotLazy === undefined)),
    indexBytes: (found?.indexDescriptor.size ?? 0) + ztocBytes,
  };
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

function inspectionText(inspection: Inspection): string {
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
    ["#", "LAYER", "KIND", "SIZE", "ZTOC", "SPANS", "FILES", "LOADING", "INDEXED BY"],
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

function inspectionJson(inspection: Inspection): Record<string, unknown> {
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
    layers: inspected.layers.map(layerJson),
    largestFiles: inspected.largestFiles,
  };
}

function layerJson({ layer, kind, whyNotLazy, ztoc, stated }: InspectedLayer): unknown {
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
      spanSizeBytes: stated.spanSizeBytes,
      uncompressedSizeBytes: stated.uncompressedSizeBytes,
      spans: stated.spanCount,
      entries: stated.entryCount,
    }),
  };
}

function pageData(inspection: Inspection): PageData {
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
        buildTool: stated.buildTool,
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
