import { mkdir, rm } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { DisposeStack } from "@soci-ts/core";
import { FuseSession, type RehearsedRead, rehearsalChannel } from "@soci-ts/fuse";
import { buildLayerIndex, HeaderTable } from "@soci-ts/layer-index";
import { openLazyLayer, type RangeBlob } from "@soci-ts/lazy-layer";
import { fixedSlots, LayerFileSystem } from "../layer-file-system.ts";
import { dataNodeId } from "../node-ids.ts";
import { madeUpTar } from "./made-up-tar.ts";

const FILES = 400;
const FILE_BYTES = 12_000;
/** Small, so that there are many to go through. */
const SPAN_BYTES = 65_536;
const READ_BYTES = 131_072;
const PAGE_BYTES = 4096;
const SMALL_READS = 1500;
const ROUNDS = 3;

/**
 * Reads a made-up layer as the kernel would, a few times over, until the engine has compiled what reading takes: the first container of a
 * fresh daemon would wait for that otherwise. Takes about a second of processor time; what comes meanwhile is answered in between.
 * @param directory - for its files; removed before and after, so that a killed process leaves nothing for ever.
 */
export async function warmUpReads(directory: string, signal: AbortSignal): Promise<void> {
  const tar = madeUpTar(FILES, FILE_BYTES);
  const blob = memoryBlob(gzipSync(tar, { level: 1 }));
  const { index, layerDigest } = await buildLayerIndex(blob.stream(0, blob.size), {
    compression: "gzip",
    spanSizeBytes: SPAN_BYTES,
  });
  if (index === undefined) return;
  const headers = HeaderTable.of(index.entries);
  for (let round = 0; round < ROUNDS && !signal.aborted; round += 1) {
    await using undo = new DisposeStack();
    const empty = (): Promise<void> => rm(directory, { recursive: true, force: true });
    await empty();
    await mkdir(directory, { mode: 0o700 });
    undo.defer(empty);
    const data = undo.use(await openLazyLayer({ directory, layerDigest, index, headers, blob }));
    const slot = { digest: layerDigest, data, image: new Uint8Array(0), deviceSlots: [0] };
    const session = new FuseSession({
      channel: rehearsalChannel(readsOf(data.size, signal)),
      handler: new LayerFileSystem(fixedSlots([slot])),
      negotiated: { minor: 41, maxReadaheadBytes: 0, flags: [] },
      readers: 1,
    });
    await session.run();
  }
}

/** As bytes come, then from the cache: first in order, then page by page as a program that is started does. */
function* readsOf(sizeBytes: number, signal: AbortSignal): Generator<RehearsedRead> {
  const nodeId = dataNodeId(0);
  for (let at = 0; at < 2 * sizeBytes && !signal.aborted; at += READ_BYTES) {
    yield { nodeId, offset: at % sizeBytes, sizeBytes: READ_BYTES };
  }
  for (let turn = 0; turn < SMALL_READS && !signal.aborted; turn += 1) {
    const page = (Math.floor(turn / 8) * 97 + (turn % 8)) % Math.floor(sizeBytes / PAGE_BYTES);
    yield { nodeId, offset: page * PAGE_BYTES, sizeBytes: PAGE_BYTES };
  }
}

function memoryBlob(bytes: Uint8Array): RangeBlob {
  return {
    size: bytes.length,
    readAt: async (offset, length) => bytes.subarray(offset, offset + length),
    async *stream(start, end) {
      yield bytes.subarray(start, end);
    },
  };
}
