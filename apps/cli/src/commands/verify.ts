import { type Digest, digestHex } from "@soci-ts/core";
import {
  type IndexVerdict,
  type SociIndex,
  type VerifiedLayer,
  type VerifyProgress,
  verifyIndex,
} from "@soci-ts/soci";
import { formatBytes, type Report, renderFacts, renderTable } from "../output.ts";
import type { Progress, Task } from "../progress.ts";
import { visible } from "../visible.ts";
import type { Session } from "../wire.ts";
import {
  foundIndex,
  isStoredIndex,
  type OpenedImage,
  openStoredIndex,
  searchImage,
} from "./image-index.ts";

/** Options of `soci verify`. */
export interface VerifyOptions {
  readonly platform?: string;
  readonly quick?: boolean;
}

interface Subject extends OpenedImage {
  readonly digest: Digest;
  readonly index: SociIndex;
  /** Why this index. */
  readonly why: string;
}

/** `soci verify REF|DIGEST`: proves an index against the layers of its image. Fails with `data_loss` at a difference. */
export async function verify(
  session: Session,
  name: string,
  options: VerifyOptions,
): Promise<Report> {
  const subject = await findSubject(session, name, options);
  const { source, image, index, readZtoc, readPrefetchList } = subject;
  const isQuick = options.quick === true;
  const verdict = await verifyIndex({
    source,
    image,
    index,
    readZtoc,
    readPrefetchList,
    isQuick,
    signal: session.signal,
    onProgress: verifyProgress(session.progress),
  });
  const report = {
    json: verdictJson(subject, verdict, isQuick),
    text: verdictText(subject, verdict, isQuick),
  };
  return verdict.difference === undefined ? report : { ...report, failed: "data_loss" };
}

async function findSubject(
  session: Session,
  name: string,
  options: VerifyOptions,
): Promise<Subject> {
  if (await isStoredIndex(session, name)) {
    const stored = await openStoredIndex(session, name);
    return { ...stored, digest: stored.record.digest, why: "of the store" };
  }
  const searched = await searchImage(session, name, options.platform);
  const { indexDescriptor, index, reason } = foundIndex(name, searched);
  return { ...searched, digest: indexDescriptor.digest, index, why: reason };
}

function verifyProgress(progress: Progress): (event: VerifyProgress) => void {
  const tasks = new Map<string, Task>();
  return ({ layer, compressedBytes, outcome }) => {
    const name = `layer ${digestHex(layer.digest).slice(0, 12)}`;
    const task = tasks.get(layer.digest) ?? progress.start(name, layer.size);
    tasks.set(layer.digest, task);
    if (outcome === undefined) task.update(compressedBytes);
    else task.finish(outcome);
  };
}

const CHECKED_QUICK = "structure, span digests and layer digests; not windows, files and diffIDs";
const CHECKED_FULL = "every checkpoint, window, file entry, digest, size and prefetch list";

function verdictText(subject: Subject, verdict: IndexVerdict, isQuick: boolean): string {
  const { difference } = verdict;
  const facts = renderFacts([
    ["index", `${subject.digest} (v${subject.index.version}, ${visible(subject.why)})`],
    ["image", `${subject.source.reference} (manifest ${subject.image.manifestDescriptor.digest})`],
    ["checked", isQuick ? CHECKED_QUICK : CHECKED_FULL],
    ["result", difference === undefined ? "all as the index says" : "different"],
  ]);
  const table = renderTable(
    ["LAYER", "SIZE", "SPANS", "FILES", "RESULT"],
    verdict.layers.map(({ layer, outcome, stated }) => [
      layer.descriptor.digest,
      formatBytes(layer.descriptor.size),
      stated === undefined ? "-" : String(stated.spanCount),
      stated === undefined ? "-" : String(stated.entryCount),
      outcome === "absent" ? "no ztoc: nothing to verify" : outcome,
    ]),
  );
  const first = difference === undefined ? "" : `\n\n${differenceText(difference)}`;
  return `${facts}\n\n${table}${first}`;
}

/** Where, and what: each on a line, as values may be long. */
function differenceText(difference: NonNullable<IndexVerdict["difference"]>): string {
  const { layer, part, number, name, field, offset } = difference;
  const where = [
    ...(layer === undefined ? [] : [`layer ${layer}`]),
    number === undefined ? part : `${part} ${number}`,
    ...(name === undefined ? [] : [`"${visible(name)}"`]),
  ];
  const at = offset === undefined ? "" : ` (at ${offset})`;
  return renderFacts([
    ["first difference", where.join(", ")],
    ["  field", `${visible(field)}${at}`],
    ["  want", visible(difference.want)],
    ["  have", visible(difference.have)],
  ]);
}

function verdictJson(
  subject: Subject,
  verdict: IndexVerdict,
  isQuick: boolean,
): Record<string, unknown> {
  const { source, image, index, digest, why } = subject;
  return {
    index: digest,
    version: index.version,
    found: why,
    reference: source.reference,
    manifest: image.manifestDescriptor.digest,
    quick: isQuick,
    verified: verdict.difference === undefined,
    difference: verdict.difference ?? null,
    layers: verdict.layers.map(layerJson),
  };
}

function layerJson({ layer, outcome, ztoc, stated, difference }: VerifiedLayer): unknown {
  const { digest, size, mediaType } = layer.descriptor;
  return {
    digest,
    diffId: layer.diffId,
    mediaType,
    sizeBytes: size,
    outcome,
    ...(ztoc && { ztoc: ztoc.descriptor.digest, ztocSizeBytes: ztoc.descriptor.size }),
    ...(stated && {
      buildTool: stated.buildTool,
      spanSizeBytes: stated.spanSizeBytes,
      spans: stated.spanCount,
      entries: stated.entryCount,
    }),
    ...(difference && { difference }),
  };
}
