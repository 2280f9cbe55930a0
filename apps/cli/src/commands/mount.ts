import { AppError, digestHex } from "@soci-ts/core";
import { formatReference, type Platform, parsePlatform, type Reference } from "@soci-ts/oci";
import {
  type BlobOpener,
  chooseDoor,
  type Door,
  type ImageLayer,
  mountImage,
  unmountImage,
} from "@soci-ts/snapshotter";
import {
  type FoundIndex,
  fetchPrefetchLists,
  fetchZtocs,
  findIndex,
  type ResolvedImage,
  registryImageSource,
} from "@soci-ts/soci";
import { checkKernel } from "../doctor/kernel.ts";
import { type Report, renderFacts } from "../output.ts";
import type { Progress } from "../progress.ts";
import type { Session } from "../wire.ts";
import { registryReference } from "./registry-reference.ts";
import { serverCommand } from "./serve-mount.ts";

/** Arguments and options of `soci mount` besides the image. */
export interface MountOptions {
  readonly directory: string;
  readonly door: Door | "auto";
  readonly platform?: string;
}

/** `soci mount REF DIR`: finds the image's index, reads its ztocs, and mounts; layers without one are read whole first. */
export async function mount(
  session: Session,
  name: string,
  options: MountOptions,
): Promise<Report> {
  const reference = registryReference("mount", name);
  const platform = options.platform === undefined ? undefined : parsePlatform(options.platform);
  checkMachine();
  const { signal, logger } = session;
  const store = await session.store();
  const server = serverCommand(session);
  const client = await session.client();
  // The door's first trial since the boot takes a while; the registry needn't wait for it. It is let come to its end whatever happens.
  const [opened, chosen] = await Promise.allSettled([
    openImage(session, reference, platform),
    chooseDoor(options.door, { store, server, logger }),
  ]);
  if (opened.status === "rejected") throw opened.reason;
  if (chosen.status === "rejected") throw chosen.reason;
  const { image, found, layers } = opened.value;
  const { manifestDescriptor } = image;
  const { registry, repository } = reference;
  // By digest, so that the serving process reads this image also after the tag has moved.
  const pinned = formatReference({ registry, repository, digest: manifestDescriptor.digest });
  const mounted = await mountImage({
    store,
    target: options.directory,
    reference: formatReference(reference),
    manifestDigest: manifestDescriptor.digest,
    layers,
    blobs: withProgress(registryImageSource(client, reference), session.progress),
    source: { image: pinned },
    server,
    door: options.door,
    logger,
    signal,
  });
  const lazy = layers.filter(({ indexed }) => indexed !== undefined).length;
  return {
    json: {
      ...mounted,
      manifest: manifestDescriptor.digest,
      index: found?.indexDescriptor.digest ?? null,
      indexReason: found?.reason ?? "none found",
      lazyLayers: lazy,
      wholeLayers: layers.length - lazy,
    },
    text: renderFacts([
      ["mounted", `${mounted.target} (read-only)`],
      ["image", `${formatReference(reference)} (manifest ${manifestDescriptor.digest})`],
      [
        "index",
        found === undefined
          ? "none found: all layers were read whole"
          : `${found.indexDescriptor.digest} (${found.reason})`,
      ],
      ["layers", `${lazy} lazy, ${layers.length - lazy} read whole`],
      ["door", `${mounted.door}: ${mounted.doorReason}`],
      ["log", mounted.logPath],
    ]),
  };
}

/** `soci unmount DIR`. */
export async function unmount(session: Session, directory: string): Promise<Report> {
  const store = await session.store();
  const { logger } = session;
  const unmounted = await unmountImage({ store, target: directory, logger });
  const died = unmounted.wasDead ? " (its serving process had died)" : "";
  return {
    json: unmounted,
    text: `unmounted ${unmounted.reference} from ${unmounted.target}${died}`,
  };
}

/** Says what is missing before anything is fetched, and what works without it. */
function checkMachine(): void {
  const missing = checkKernel(true).filter(({ state }) => state === "fail");
  if (missing.length === 0) return;
  const list = missing
    .map(({ check, found, fix }) => `${check}: ${found} (fix: ${fix})`)
    .join("; ");
  throw new AppError(
    "failed_precondition",
    `Cannot mount: ${list}. Without it, \`soci ztoc cat DIGEST PATH\` reads single files lazily`,
  );
}

interface OpenedImage {
  readonly image: ResolvedImage;
  readonly found: FoundIndex | undefined;
  readonly layers: readonly ImageLayer[];
}

/** All that the registry has to be asked for before a mount. */
async function openImage(
  session: Session,
  reference: Reference,
  platform: Platform | undefined,
): Promise<OpenedImage> {
  const { signal, logger } = session;
  const store = await session.store();
  const client = await session.client();
  const image = await registryImageSource(client, reference).resolve(platform, { signal });
  const { manifestDescriptor, manifest } = image;
  const repository = { registry: reference.registry, repository: reference.repository };
  const [{ found }, { layers }] = await Promise.all([
    findIndex({ client, repository, manifestDescriptor, manifest, store, logger, signal }),
    image.config({ signal }),
  ]);
  return { image, found, layers: await withIndexes(session, { layers, repository, found }) };
}

/** A mount waits no longer than this for a list of what to fetch first. */
const LIST_TIMEOUT_MS = 2000;

/** Each layer with its index, if it has one, and with the list of what to fetch as soon as it is mounted. */
async function withIndexes(
  session: Session,
  parts: {
    readonly layers: readonly ImageLayer[];
    readonly repository: Pick<Reference, "registry" | "repository">;
    readonly found: FoundIndex | undefined;
  },
): Promise<readonly ImageLayer[]> {
  const { layers, repository, found } = parts;
  if (found === undefined) return layers;
  const { signal, logger } = session;
  const { index } = found;
  const where = {
    client: await session.client(),
    store: await session.store(),
    repository,
    layers: layers.map(({ descriptor }) => descriptor),
    signal,
  };
  const entries = index.prefetchLists;
  const lists = fetchPrefetchLists({ ...where, entries, timeoutMs: LIST_TIMEOUT_MS, logger });
  const ztocs = await fetchZtocs({ ...where, index });
  const prefetch = await Promise.all(lists);
  return layers.map((layer, at) => {
    const ztoc = ztocs[at];
    if (ztoc?.kind === "unusable") {
      logger.warn("layer is read whole", { digest: layer.descriptor.digest, why: ztoc.why });
    }
    if (ztoc?.kind !== "indexed") return layer;
    const { index, ztocDigest } = ztoc;
    return { ...layer, indexed: { index, ztocDigest }, prefetch: prefetch[at] };
  });
}

/** Shows the layers that are read whole: without an index that may take a while. */
function withProgress(blobs: BlobOpener, progress: Progress): BlobOpener {
  return {
    openBlob(descriptor) {
      const blob = blobs.openBlob(descriptor);
      return {
        size: blob.size,
        readAt: (offset, length, options) => blob.readAt(offset, length, options),
        async *stream(start, end, options) {
          const task = progress.start(
            `layer ${digestHex(descriptor.digest).slice(0, 12)}`,
            blob.size,
          );
          let at = start;
          for await (const bytes of blob.stream(start, end, options)) {
            at += bytes.length;
            task.update(at);
            yield bytes;
          }
          task.finish("read whole");
        },
      };
    },
  };
}
