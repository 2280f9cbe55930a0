// A pull as Go's containerd client does it with `snapshotters.AppendInfoHandlerWrapper`: the labels of a layer are passed to Prepare.
import { createHash, randomUUID } from "node:crypto";
import { type Containerd, openContainerd } from "@soci-ts/containerd-api";
import { AppError } from "@soci-ts/core";
import type { ContainerdNode } from "@soci-ts/testkit";

/** Where an image is pulled from, and what it is called on the node. */
export interface LabelPull {
  readonly namespace: string;
  readonly snapshotter: string;
  /** `host:port` of a registry with plain HTTP. */
  readonly host: string;
  readonly repository: string;
  readonly tag: string;
  /** Name of the image on the node. */
  readonly reference: string;
}

/** What came of a pull. */
export interface PulledImage {
  /** Name of the topmost snapshot. */
  readonly chainId: string;
  /** Digests of the layers that containerd had to fetch and unpack itself, bottom first. */
  readonly unpacked: readonly string[];
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

interface Manifest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

interface Work {
  readonly containerd: Containerd;
  readonly snapshotter: string;
  readonly pull: LabelPull;
  readonly base: string;
  /** Headers that keep what is written from being collected before the image names it. */
  readonly call: { readonly headers: Readonly<Record<string, string>>; readonly timeoutMs: number };
}

const LABEL = "containerd.io/snapshot/cri";
const CHUNK_BYTES = 1024 * 1024;

/** Pulls an image into a namespace of the node, with one of its snapshotters. */
export async function pullWithLabels(node: ContainerdNode, pull: LabelPull): Promise<PulledImage> {
  await using containerd = openContainerd(node.socket, { namespace: pull.namespace });
  const lease = `pull-${randomUUID()}`;
  await containerd.leases.create({ id: lease, labels: {} });
  const work: Work = {
    containerd,
    snapshotter: pull.snapshotter,
    pull,
    base: `http://${pull.host}/v2/${pull.repository}`,
    call: { headers: { "containerd-lease": lease }, timeoutMs: 240_000 },
  };
  try {
    return await pullUnderLease(work);
  } finally {
    await containerd.leases.delete({ id: lease, sync: true });
  }
}

async function pullUnderLease(work: Work): Promise<PulledImage> {
  const { containerd, snapshotter, pull } = work;
  const answer = await fetchBytes(`${work.base}/manifests/${pull.tag}`);
  const target = describe(answer.mediaType, answer.bytes);
  const manifest = JSON.parse(answer.bytes.toString()) as Manifest;
  const config = (await fetchBytes(`${work.base}/blobs/${manifest.config.digest}`)).bytes;
  const diffIds = diffIdsOf(config);
  const top = chainIdOf(diffIds);
  await writeContent(work, manifest.config, config, {
    [`containerd.io/gc.ref.snapshot.${snapshotter}`]: top,
  });
  const references = [manifest.config, ...manifest.layers].map(({ digest }, at) => [
    at === 0 ? "containerd.io/gc.ref.content.config" : `containerd.io/gc.ref.content.l.${at - 1}`,
    digest,
  ]);
  await writeContent(work, target, answer.bytes, Object.fromEntries(references));
  const unpacked: string[] = [];
  for (const [at, layer] of manifest.layers.entries()) {
    const labels = labelsOf(pull, target, manifest, at);
    if (await unpackLayer(work, { layer, diffIds: diffIds.slice(0, at + 1), labels }))
      unpacked.push(layer.digest);
  }
  await containerd.images.create({ image: { name: pull.reference, target } }, work.call);
  return { chainId: top, unpacked };
}

/** What AppendInfoHandlerWrapper hangs on a layer's descriptor. */
function labelsOf(
  pull: LabelPull,
  target: Descriptor,
  manifest: Manifest,
  at: number,
): Record<string, string> {
  return {
    [`${LABEL}.image-ref`]: pull.reference,
    [`${LABEL}.manifest-digest`]: target.digest,
    [`${LABEL}.layer-digest`]: manifest.layers[at]?.digest ?? "",
    [`${LABEL}.image-layers`]: manifest.layers
      .slice(at)
      .map(({ digest }) => digest)
      .join(","),
  };
}

/** As containerd's unpacker: "already exists" means that the snapshot is there, else the layer is fetched and applied. True if it was. */
async function unpackLayer(
  work: Work,
  step: { layer: Descriptor; diffIds: readonly string[]; labels: Record<string, string> },
): Promise<boolean> {
  const { snapshots, diff } = work.containerd;
  const { snapshotter } = work;
  const { layer } = step;
  const chainId = chainIdOf(step.diffIds);
  const parent = step.diffIds.length === 1 ? "" : chainIdOf(step.diffIds.slice(0, -1));
  const labels = { ...step.labels, "containerd.io/snapshot.ref": chainId };
  const key = `extract-${randomUUID()} ${chainId}`;
  try {
    const { mounts } = await snapshots.prepare({ snapshotter, key, parent, labels }, work.call);
    const blob = (await fetchBytes(`${work.base}/blobs/${layer.digest}`)).bytes;
    const diffId = step.diffIds.at(-1) ?? "";
    await writeContent(work, layer, blob, { "containerd.io/uncompressed": diffId });
    const { applied } = await diff.apply({ diff: layer, mounts }, work.call);
    if (applied?.digest !== diffId)
      throw new Error(`${layer.digest} unpacks to ${applied?.digest}, want ${diffId}`);
    await snapshots.commit({ snapshotter, name: chainId, key, labels }, work.call);
    return true;
  } catch (error) {
    if (!isAlreadyThere(error)) throw error;
    await snapshots.stat({ snapshotter, key: chainId }, work.call);
    return false;
  }
}

async function writeContent(
  { containerd, call }: Work,
  { digest, size }: Descriptor,
  bytes: Buffer,
  labels: Readonly<Record<string, string>>,
): Promise<void> {
  const ref = `pull-${digest}`;
  const requests = async function* () {
    for (let offset = 0; offset < bytes.length; offset += CHUNK_BYTES) {
      const data = bytes.subarray(offset, offset + CHUNK_BYTES);
      yield { action: "WRITE", ref, total: size, expected: digest, offset, data } as const;
    }
    const end = { ref, total: size, expected: digest, offset: size };
    yield { action: "COMMIT", ...end, labels } as const;
  };
  try {
    for await (const _ of containerd.content.write(requests(), call));
  } catch (error) {
    if (!isAlreadyThere(error)) throw error;
  }
}

function isAlreadyThere(error: unknown): boolean {
  return error instanceof AppError && error.code === "already_exists";
}

async function fetchBytes(url: string): Promise<{ bytes: Buffer; mediaType: string }> {
  const response = await fetch(url, {
    headers: { accept: "application/vnd.oci.image.manifest.v1+json" },
  });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  const mediaType = response.headers.get("content-type") ?? "";
  return { bytes: Buffer.from(await response.arrayBuffer()), mediaType };
}

function describe(mediaType: string, bytes: Buffer): Descriptor {
  return { mediaType, digest: sha256(bytes), size: bytes.length };
}

/** The diffIDs that an image's config names, bottom first. */
export function diffIdsOf(config: Buffer): readonly string[] {
  const parsed = JSON.parse(config.toString()) as { rootfs: { diff_ids: readonly string[] } };
  return parsed.rootfs.diff_ids;
}

/** image-spec v1.1.1 config.md, "Layer ChainID". */
export function chainIdOf(diffIds: readonly string[]): string {
  return diffIds.reduce((chain, diffId) => sha256(Buffer.from(`${chain} ${diffId}`)));
}

function sha256(bytes: Buffer): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
