import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError, type Digest, sha256 } from "@soci-ts/core";
import {
  MEDIA_TYPE_OCI_CONFIG,
  MEDIA_TYPE_OCI_LAYER_GZIP,
  MEDIA_TYPE_OCI_MANIFEST,
} from "@soci-ts/oci";
import { chainIdsOf } from "./image-chain.ts";
import { repairImage, repairReport } from "./repair.ts";
import type {
  ContainerRecord,
  ImageRecord,
  RepairContainerd,
  RepairNamespace,
} from "./repair-containerd.ts";

/** containerd's records as its metadata store keeps them: removal with children is refused, lost snapshots are not found by Stat. */
class FakeNamespace implements RepairNamespace {
  readonly blobs = new Map<string, { bytes: Uint8Array; labels: Record<string, string> }>();
  readonly imageRecords: ImageRecord[] = [];
  readonly containerRecords: ContainerRecord[] = [];
  readonly records = new Map<
    string,
    { parent: string; lost: boolean; labels: Record<string, string> }
  >();
  eager = new Set<string>();
  isDown = false;

  addImage(name: string, diffs: readonly string[], isOurs = true): readonly string[] {
    const diffIds = diffs.map((text) => sha256(Buffer.from(text)));
    const config = Buffer.from(
      JSON.stringify({
        architecture: "amd64",
        os: "linux",
        rootfs: { type: "layers", diff_ids: diffIds },
      }),
    );
    const layers = diffs.map((text) => ({
      mediaType: MEDIA_TYPE_OCI_LAYER_GZIP,
      digest: sha256(Buffer.from(`gz ${text}`)),
      size: 1,
    }));
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MEDIA_TYPE_OCI_MANIFEST,
        config: { mediaType: MEDIA_TYPE_OCI_CONFIG, digest: sha256(config), size: config.length },
        layers,
      }),
    );
    const chain = chainIdsOf(diffIds);
    const labels: Record<string, string> = isOurs
      ? { "containerd.io/gc.ref.snapshot.soci": chain.at(-1) ?? "" }
      : {};
    this.blobs.set(sha256(config), { bytes: config, labels });
    this.blobs.set(sha256(manifest), { bytes: manifest, labels: {} });
    this.imageRecords.push({ name, digest: sha256(manifest), mediaType: MEDIA_TYPE_OCI_MANIFEST });
    for (const [at, id] of chain.entries()) {
      this.records.set(id, { parent: chain[at - 1] ?? "", lost: false, labels: {} });
    }
    return chain;
  }

  loseAll(): void {
    for (const record of this.records.values()) record.lost = true;
  }

  images = async () => this.imageRecords;
  containers = async () => this.containerRecords;
  blobLabels = async (digest: Digest) => this.blobs.get(digest)?.labels;
  readBlob = async (digest: Digest) => {
    const blob = this.blobs.get(digest);
    if (blob === undefined) throw new AppError("not_found", "no blob");
    return blob.bytes;
  };
  hasSnapshot = async (key: string) => {
    if (this.isDown) throw new AppError("unavailable", "the daemon is down");
    return this.records.get(key)?.lost === false;
  };
  prepareSnapshot = async (
    key: string,
    parent: string,
    labels: Readonly<Record<string, string>>,
  ) => {
    const target = labels["containerd.io/snapshot.ref"]!;
    if (parent !== "") assert.equal(this.records.get(parent)?.lost, false, "parent must be there");
    assert.ok(!this.records.has(target), "a record of the target makes containerd refuse");
    const isEager = this.eager.has(target);
    this.records.set(isEager ? key : target, { parent, lost: false, labels: { ...labels } });
    return isEager ? ("mounts" as const) : ("already_exists" as const);
  };
  removeSnapshot = async (key: string) => {
    if (!this.records.has(key)) throw new AppError("not_found", "no snapshot");
    if ([...this.records.values()].some(({ parent }) => parent === key)) {
      throw new AppError("failed_precondition", "has children");
    }
    this.records.delete(key);
  };
  async [Symbol.asyncDispose]() {}
}

function containerd(namespaces: Record<string, FakeNamespace>): RepairContainerd {
  return {
    namespaces: async () => Object.keys(namespaces),
    openNamespace: async (name) => namespaces[name]!,
    [Symbol.asyncDispose]: async () => {},
  };
}

const request = {
  image: "app:v1",
  snapshotter: "soci",
  isDryRun: false,
  signal: new AbortController().signal,
};

describe("repairImage()", () => {
  it("removes stale records top first, those of other images and lost containers too, and prepares each layer with a pull's labels", async () => {
    const fake = new FakeNamespace();
    const chain = fake.addImage("app:v1", ["base", "mid", "top"]);
    fake.addImage("other:v1", ["base", "mid", "else"]);
    fake.records.set("c1-key", { parent: chain[2]!, lost: false, labels: {} });
    fake.containerRecords.push(
      { id: "c1", snapshotter: "soci", snapshotKey: "c1-key" },
      { id: "c2", snapshotter: "overlayfs", snapshotKey: "gone" },
    );
    fake.loseAll();
    const outcome = await repairImage(
      containerd({ empty: new FakeNamespace(), k8s: fake }),
      request,
    );
    assert.equal(outcome.results.length, 1);
    const [result] = outcome.results;
    assert.equal(result!.state, "repaired");
    assert.deepEqual(result!.missing, chain);
    assert.deepEqual(result!.lostContainers, ["c1"]);
    assert.deepEqual([...fake.records.keys()], chain);
    const { labels } = fake.records.get(chain[1]!)!;
    assert.equal(labels["containerd.io/snapshot/cri.image-ref"], "app:v1");
    assert.equal(
      labels["containerd.io/snapshot/cri.manifest-digest"],
      fake.imageRecords[0]!.digest,
    );
    assert.equal(labels["containerd.io/snapshot/cri.layer-digest"], sha256(Buffer.from("gz mid")));
    assert.equal(
      labels["containerd.io/snapshot/cri.image-layers"],
      ["mid", "top"].map((text) => sha256(Buffer.from(`gz ${text}`))).join(","),
    );
    const { text, failed } = repairReport(outcome);
    assert.equal(failed, undefined);
    assert.match(text, /Namespace k8s: repaired\n {2}- missing: sha256:/);
    assert.match(text, /container c1 lost its own files/);
  });

  it("keeps what is there, and makes only the rest", async () => {
    const fake = new FakeNamespace();
    const chain = fake.addImage("app:v1", ["base", "mid", "top"]);
    fake.records.get(chain[2]!)!.lost = true;
    const { results } = await repairImage(containerd({ d: fake }), request);
    assert.deepEqual(results[0]!.missing, [chain[2]]);
    assert.deepEqual(fake.records.get(chain[0]!)!.labels, {});
  });

  it("hands a layer that can't be lazy back to a pull, and leaves no active snapshot", async () => {
    const fake = new FakeNamespace();
    const chain = fake.addImage("app:v1", ["base", "mid", "top"]);
    fake.loseAll();
    fake.eager.add(chain[1]!);
    const outcome = await repairImage(containerd({ d: fake }), request);
    assert.equal(outcome.results[0]!.state, "pull");
    assert.match(outcome.results[0]!.detail, /layer 2 of 3 can't be had lazily/);
    assert.deepEqual([...fake.records.keys()], [chain[0]]);
    assert.equal(repairReport(outcome).failed, "failed_precondition");
  });

  it("changes nothing in a dry run, for whole images, and for those of another snapshotter", async () => {
    const fake = new FakeNamespace();
    const chain = fake.addImage("app:v1", ["base"]);
    const other = new FakeNamespace();
    other.addImage("app:v1", ["base"], false);
    const both = containerd({ a: fake, b: other });
    assert.deepEqual(
      (await repairImage(both, request)).results.map(({ state }) => state),
      ["whole", "foreign"],
    );
    fake.loseAll();
    assert.deepEqual(
      (await repairImage(both, { ...request, isDryRun: true })).results.map(({ state }) => state),
      ["missing", "foreign"],
    );
    assert.deepEqual([...fake.records.keys()], chain);
  });

  it("stops where a snapshot that nobody names stands on a lost one", async () => {
    const fake = new FakeNamespace();
    const chain = fake.addImage("app:v1", ["base"]);
    fake.records.set("build-cache", { parent: chain[0]!, lost: false, labels: {} });
    fake.loseAll();
    const { results } = await repairImage(containerd({ d: fake }), request);
    assert.equal(results[0]!.state, "blocked");
    assert.ok(fake.records.has(chain[0]!));
  });

  it("takes no daemon that is down for one that has lost its data", async () => {
    const fake = new FakeNamespace();
    fake.addImage("app:v1", ["base"]);
    fake.isDown = true;
    await assert.rejects(repairImage(containerd({ d: fake }), request), { code: "unavailable" });
    assert.equal(fake.records.size, 1);
  });

  it("says so where no namespace has the image", async () => {
    await assert.rejects(repairImage(containerd({ d: new FakeNamespace() }), request), {
      code: "not_found",
    });
  });
});

describe("chainIdsOf()", () => {
  it("is the specification's: the first diffID itself, then the digest of both", () => {
    const [a, b] = [sha256(Buffer.from("a")), sha256(Buffer.from("b"))];
    assert.deepEqual(chainIdsOf([a, b]), [a, sha256(Buffer.from(`${a} ${b}`))]);
  });
});
