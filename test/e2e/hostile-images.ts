import { type BuiltLayerBlob, buildTar, gzipLayer } from "@soci-ts/testkit";
import { layerOfRaw, type RawEntry, rawTar } from "./raw-tar.ts";
import type { ScriptedParts, ScriptedRegistry } from "./scripted-registry.ts";

/** How a command is to end. */
export interface HostileOutcome {
  readonly exitCode: number;
  /** What its line must say; nothing if it is to succeed. */
  readonly says?: RegExp;
}

/** An image that is not as it should be. */
export interface HostileImage {
  readonly name: string;
  readonly layers: () => Promise<readonly BuiltLayerBlob[]>;
  readonly parts?: (registry: ScriptedRegistry) => ScriptedParts;
  readonly create: HostileOutcome;
  readonly mount: HostileOutcome;
}

const GOOD = gzipLayer(await buildTar([{ name: "a", content: "hello" }]));
const DIGEST = /sha256:[0-9a-f]{64}/;
const FINE: HostileOutcome = { exitCode: 0 };
const damaged = (says: RegExp): HostileOutcome => ({ exitCode: 11, says });

/** Refused by both commands for the same reason. */
function refused(
  name: string,
  layers: readonly BuiltLayerBlob[],
  says: RegExp,
  parts?: HostileImage["parts"],
): HostileImage {
  const outcome = damaged(says);
  const common = { name, layers: async () => layers, create: outcome, mount: outcome };
  return parts === undefined ? common : { ...common, parts };
}

/** Sound as a tar, so it can be indexed; but no file system can hold it. */
function unmountable(name: string, entries: readonly RawEntry[], says: RegExp): HostileImage {
  const layers = async (): Promise<BuiltLayerBlob[]> => [layerOfRaw(rawTar(entries))];
  return { name, layers, create: FINE, mount: damaged(says) };
}

/** Sound in nothing but its checksums. */
function badTar(name: string, entries: readonly RawEntry[], says: RegExp): HostileImage {
  return refused(name, [layerOfRaw(rawTar(entries))], says);
}

function manyLayers(count: number): Promise<BuiltLayerBlob[]> {
  const names = Array.from({ length: count }, (_, at) => `file-${at}`);
  return Promise.all(
    names.map(async (name) => gzipLayer(await buildTar([{ name, content: name }]))),
  );
}

/** The images, and how `soci create` and `soci mount` have to end. */
export const HOSTILE_IMAGES: readonly HostileImage[] = [
  refused("a layer cut short", [{ ...GOOD, blob: GOOD.blob.subarray(0, 60) }], /at offset 60/),
  refused(
    "a layer that is no gzip",
    [{ ...GOOD, blob: Buffer.from("hello world") }],
    /at offset 0/,
  ),
  refused("a layer that holds no tar", [layerOfRaw(Buffer.alloc(5000, 65))], /tar at offset 0/),
  refused("a layer that is not its digest", [GOOD], DIGEST, (registry) => ({
    layers: [registry.putBlob(GOOD.blob, GOOD.mediaType, `sha256:${"1".repeat(64)}`)],
  })),
  refused("a layer shorter than the manifest says", [GOOD], DIGEST, (registry) => ({
    layers: [{ ...registry.putBlob(GOOD.blob, GOOD.mediaType), size: GOOD.blob.length + 1 }],
  })),
  refused("a layer of a pebibyte, the manifest says", [GOOD], DIGEST, (registry) => ({
    layers: [{ ...registry.putBlob(GOOD.blob, GOOD.mediaType), size: 2 ** 50 }],
  })),
  refused("a layer whose diffID lies", [GOOD], DIGEST, () => ({
    diffIds: [`sha256:${"0".repeat(64)}`],
  })),
  badTar("a file larger than its tar", [{ name: "big", size: 8 ** 11 - 1 }], /8589933567 bytes/),
  badTar("a file of 2^63 bytes", [{ name: "big", pax: { size: `${2n ** 63n - 1n}` } }], /"big"/),
  badTar("a NUL in a name", [{ name: "x", pax: { path: "a\u0000b" } }], /NUL/),
  unmountable("a file as parent", [{ name: "a" }, { name: "a/b" }], /offset 512: .*"a\/b"/),
  unmountable(
    "a hard link that leads out",
    [{ name: "x", flag: "1", linkname: "/etc/passwd" }],
    /"x"/,
  ),
  unmountable(
    "links in a circle",
    [
      { name: "a", flag: "2", linkname: "b" },
      { name: "b", flag: "2", linkname: "a" },
      { name: "a/x" },
    ],
    /"a\/x" .*too many symbolic links/,
  ),
  unmountable("5000 directories deep", [{ name: "x", pax: { path: "d/".repeat(5000) } }], /deep/),
  unmountable("a name of 300 bytes", [{ name: "x", pax: { path: "d".repeat(300) } }], /300 bytes/),
  unmountable("a device that can't be", [{ name: "d", flag: "3", devmajor: 9999 }], /9999:0/),
  refused("a manifest cut short", [GOOD], /manifest at offset 19/, () => ({
    manifest: Buffer.from('{"schemaVersion":2,'),
  })),
  refused("a page in place of a manifest", [GOOD], /manifest at offset 0/, () => ({
    manifest: Buffer.from("<html>"),
  })),
  refused("a manifest that nests without end", [GOOD], /manifest at offset 64/, () => ({
    manifest: Buffer.from("[".repeat(100_000)),
  })),
  refused("a config of rubbish", [GOOD], /config at offset 0/, () => ({
    config: Buffer.from("<html>"),
  })),
  refused("a config that lacks a diffID", [GOOD, GOOD], /1 diffIDs, want 2/, () => ({
    diffIds: [GOOD.diffId],
  })),
  refused("a manifest of 20,000 layers", [GOOD], /20000 items/, () => ({
    layers: Array.from({ length: 20_000 }, () => ({
      mediaType: "m",
      digest: GOOD.diffId,
      size: 1,
    })),
  })),
  {
    name: "a layer 3000 times",
    layers: async () => Array.from({ length: 3000 }, () => GOOD),
    create: FINE,
    mount: FINE,
  },
  {
    name: "200 layers",
    layers: () => manyLayers(200),
    create: FINE,
    mount: { exitCode: 10, says: /want at most 140/ },
  },
];
