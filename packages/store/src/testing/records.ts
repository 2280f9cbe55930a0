import { type Digest, sha256 } from "@soci-ts/core";
import type { IndexRecord, Store, ZtocRecord } from "../types.ts";

/** A digest that is the same for the same text. */
export function digestOfText(text: string): Digest {
  return sha256(Buffer.from(text));
}

/** Writes a blob for each ztoc and one for the index, and gives the record that `addIndex` takes. */
export async function writeIndex(
  store: Store,
  name: string,
  ztocNames: readonly string[],
): Promise<IndexRecord> {
  const ztocs: ZtocRecord[] = [];
  for (const ztocName of ztocNames) {
    const written = await store.writeBlob(Buffer.from(`ztoc ${ztocName} `.repeat(500)));
    ztocs.push({
      ...written,
      layerDigest: digestOfText(ztocName),
      layerMediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
      spanSizeBytes: 4194304,
    });
  }
  const { digest, sizeBytes } = await store.writeBlob(Buffer.from(`index ${name}`));
  return {
    digest,
    sizeBytes,
    manifestDigest: digestOfText(`manifest ${name}`),
    reference: `registry.example/${name}:latest`,
    platform: { os: "linux", architecture: "amd64" },
    artifactType: "application/vnd.amazon.soci.index.v1+json",
    createdAt: new Date(1_700_000_000_000),
    ztocs,
  };
}
