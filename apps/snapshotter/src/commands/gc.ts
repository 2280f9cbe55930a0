import type { FreedFiles, GarbageDocument } from "../documents.ts";
import { formatBytes, plainText, type Report, renderFacts } from "../output.ts";

/** `gc`: what was freed, by kind. */
export function gcReport(document: GarbageDocument): Report {
  const { layers, orphans, temporaries, records, evicted, notes } = document;
  const freed = [layers, orphans, temporaries].reduce((total, it) => total + it.sizeBytes, 0);
  const total = freed + (evicted?.sizeBytes ?? 0);
  const facts: (readonly [string, string])[] = [
    ["layers that no snapshot needs", freedText(layers)],
    ["caches of no layer", freedText(orphans)],
    ["unfinished files", freedText(temporaries)],
    ["records of old pulls", records === 0 ? "none" : String(records)],
    ["cached bytes evicted", evictedText(evicted)],
    ["freed in all", formatBytes(total)],
  ];
  const lines = notes.map((note) => `note: ${plainText(note)}`);
  return { json: document, text: [renderFacts(facts), ...lines].join("\n") };
}

function freedText({ count, sizeBytes }: FreedFiles): string {
  return count === 0 ? "none" : `${count}, ${formatBytes(sizeBytes)}`;
}

function evictedText(evicted: GarbageDocument["evicted"]): string {
  if (evicted === undefined) return "not known: the layer server did not answer";
  const { layers, chunks, sizeBytes } = evicted;
  if (sizeBytes === 0) return "none";
  return `${formatBytes(sizeBytes)}: ${layers} whole layers, ${chunks} chunks of others`;
}
