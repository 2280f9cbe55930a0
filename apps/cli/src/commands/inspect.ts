import { writeFile } from "node:fs/promises";
import { AppError, type Digest } from "@soci-ts/core";
import { ANNOTATION_BUILD_TOOL } from "@soci-ts/oci";
import {
  type FoundIndex,
  type InspectedImage,
  type InspectedLayer,
  inspectImage,
} from "@soci-ts/soci";
import type { PageSizes } from "../inspect-page/page-data.ts";
import type { Report } from "../output.ts";
import type { Session } from "../wire.ts";
import { searchImage } from "./image-index.ts";
import { type Inspection, inspectionJson, inspectionText, pageData } from "./inspect-report.ts";

/** Options of `soci inspect`. */
export interface InspectOptions {
  readonly platform?: string;
  /** File to write the page to. */
  readonly html?: string;
}

const MAX_FILES = 20;
/** On an index manifest by some builders: when it was made (image-spec v1.1.1, annotations.md). */
const ANNOTATION_CREATED = "org.opencontainers.image.created";

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
    dates: await ztocDates(session, found),
  };
  const text = inspectionText(inspection);
  const { html } = options;
  if (html === undefined) return { json: inspectionJson(inspection), text };
  await writePage(html, inspection, signal);
  return {
    json: { ...inspectionJson(inspection), html },
    text: `${text}\n\npage written to ${html}`,
  };
}

async function writePage(path: string, inspection: Inspection, signal: AbortSignal): Promise<void> {
  const { renderPage } = await import("../inspect-page/page.ts");
  try {
    await writeFile(path, renderPage(pageData(inspection)), { signal });
  } catch (error) {
    throw unwritable(path, error);
  }
}

function unwritable(path: string, cause: unknown): AppError {
  const { code, message } = AppError.from(cause);
  return new AppError(code, `Cannot write page ${JSON.stringify(path)}: ${message}`, { cause });
}

/** The store knows of its own indexes; others may say so themselves. */
async function createdAt(
  session: Session,
  { index, indexDescriptor }: FoundIndex,
): Promise<string | undefined> {
  const store = await session.store();
  const record = store.getIndex(indexDescriptor.digest);
  return record?.createdAt.toISOString() ?? index.manifest.annotations?.[ANNOTATION_CREATED];
}

/**
 * When each ztoc was made: the store knows since when it has those that were made here; others have what their index's manifest
 * says, if it does.
 */
async function ztocDates(
  session: Session,
  found: FoundIndex | undefined,
): Promise<ReadonlyMap<Digest, string>> {
  const dates = new Map<Digest, string>();
  const said = found?.index.manifest.annotations?.[ANNOTATION_CREATED];
  if (found !== undefined && said !== undefined) {
    for (const { descriptor } of found.index.ztocs) dates.set(descriptor.digest, said);
  }
  const store = await session.store();
  // Newest first, so that the oldest is what stays.
  for (const { ztocs, createdAt } of store.listIndexes()) {
    for (const { digest } of ztocs) dates.set(digest, createdAt.toISOString());
  }
  return dates;
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
