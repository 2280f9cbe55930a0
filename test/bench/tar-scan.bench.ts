// Entries a second of the tar scanner, from memory: many small files, and the sample layer's mixture.
import { readFile } from "node:fs/promises";
import { createTarScan } from "@soci-ts/tar";
import { buildTar } from "@soci-ts/testkit";
import { sampleLayer } from "./sample-layer.ts";
import { megabytesPerSecond, printTable } from "./table.ts";

const SLICE_BYTES = 262_144;

function scan(archive: Uint8Array): { entries: number; wallMs: number } {
  let entries = 0;
  const started = performance.now();
  const scanner = createTarScan({
    onEntry: () => {
      entries += 1;
    },
  });
  for (let at = 0; at < archive.length; at += SLICE_BYTES)
    scanner.push(archive.subarray(at, at + SLICE_BYTES));
  scanner.finish();
  return { entries, wallMs: performance.now() - started };
}

const small = await buildTar(
  Array.from({ length: 100_000 }, (_, i) => ({
    name: `usr/share/some/folder-${i % 300}/file-${i}.txt`,
    content: "x".repeat(700),
  })),
);
const mixed = await readFile((await sampleLayer(100)).tar);
const rows = (
  [
    ["100,000 files of 700 bytes", small],
    ["package layer, PAX headers", mixed],
  ] as const
).map(([name, archive]) => {
  scan(archive);
  const { entries, wallMs } = scan(archive);
  return [
    name,
    entries,
    ((entries / wallMs) * 1000).toFixed(0),
    megabytesPerSecond(archive.length, wallMs),
  ];
});
printTable(["tar scan", "entries", "entries/s", "MB/s"], rows);
