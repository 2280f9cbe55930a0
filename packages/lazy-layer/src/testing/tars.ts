import { constants, gzipSync } from "node:zlib";
import { type Digest, sha256 } from "@soci-ts/core";
import { buildTar, seededBytes, seededRandom } from "@soci-ts/testkit";
import type { StreamLayerOptions } from "../stream-layer.ts";
import { storedZstd } from "./zstd.ts";

/** A real layer in each compression. */
export interface TarLayer {
  readonly tar: Uint8Array;
  readonly blob: Uint8Array;
  readonly descriptor: StreamLayerOptions["descriptor"];
  readonly diffId: Digest;
}

/** What `victim.ts` streams. */
export const VICTIM_TAR: readonly [sizeBytes: number, seed: number] = [20_000_000, 4];

const MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar";

/** A tar of some files, about `sizeBytes` long, with padding after its end. */
export async function makeTar(sizeBytes: number, seed: number): Promise<Uint8Array> {
  const random = seededRandom(seed);
  const items = [{ name: "bin/", type: "directory" as const }];
  const files = [];
  for (let total = 0, at = 0; total < sizeBytes; at += 1) {
    const length = Math.floor((random() * sizeBytes) / 4);
    files.push({ name: `bin/file ${at}`, content: seededBytes(length, seed + at) });
    total += length;
  }
  const tar = await buildTar([...items, ...files]);
  return Buffer.concat([tar, new Uint8Array(10_240)]);
}

/** The layer that holds `tar`. */
export function layerOfTar(tar: Uint8Array, compression: "gzip" | "zstd" | "none"): TarLayer {
  const blob = {
    gzip: () => gzipSync(tar, { strategy: constants.Z_DEFAULT_STRATEGY }),
    zstd: () => storedZstd(tar),
    none: () => tar,
  }[compression]();
  return layerOfBlob(
    tar,
    blob,
    compression === "none" ? MEDIA_TYPE : `${MEDIA_TYPE}+${compression}`,
  );
}

/** The layer that holds `tar` in `blob`. */
export function layerOfBlob(tar: Uint8Array, blob: Uint8Array, mediaType: string): TarLayer {
  const descriptor = { digest: sha256(blob), size: blob.length, mediaType };
  return { tar, blob, descriptor, diffId: sha256(tar) };
}
