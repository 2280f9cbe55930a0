/*
 * A program for tests: pushes referrers of one subject, all at the same time, and prints their digests.
 * Arguments: registry, repository, subject digest, how many, name.
 */
import { parseDigest, sha256 } from "@soci-ts/core";
import {
  EMPTY_CONFIG_DIGEST,
  encodeManifest,
  MEDIA_TYPE_OCI_MANIFEST,
  MEDIA_TYPE_SOCI_INDEX_V1,
} from "@soci-ts/oci";
import { RegistryClient } from "../client.ts";

const [registry = "", repository = "", subject = "", count = "", name = ""] = process.argv.slice(2);
await using client = new RegistryClient();

async function pushOne(annotation: string): Promise<string> {
  const bytes = encodeManifest({
    schemaVersion: 2,
    mediaType: MEDIA_TYPE_OCI_MANIFEST,
    config: { mediaType: MEDIA_TYPE_SOCI_INDEX_V1, digest: EMPTY_CONFIG_DIGEST, size: 2 },
    layers: [],
    subject: { mediaType: MEDIA_TYPE_OCI_MANIFEST, digest: parseDigest(subject), size: 2 },
    annotations: { name: annotation },
  });
  await client.pushReferrer({ registry, repository }, MEDIA_TYPE_OCI_MANIFEST, bytes);
  return sha256(bytes);
}

const names = Array.from({ length: Number(count) }, (_, k) => `${name}-${k}`);
const digests = await Promise.all(names.map(pushOne));
process.stdout.write(`${digests.join("\n")}\n`);
