import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { AppError } from "@soci-ts/core";
import { RegistryError } from "@soci-ts/registry-client";
import { createIndex } from "./create-index.ts";
import { type FetchZtocsOptions, fetchZtocs } from "./fetch-ztocs.ts";
import { MAX_ZTOC_BYTES } from "./limits.ts";
import { ociLayoutImageSource } from "./oci-layout-source.ts";
import { pushIndex } from "./push-index.ts";
import { parseSociIndex } from "./soci-index.ts";
import {
  type Bench,
  failure,
  loadRegistry,
  openBench,
  twoLayerLayout,
} from "./testing/fixtures.ts";

async function pushed(bench: Bench): Promise<FetchZtocsOptions> {
  const layout = await twoLayerLayout(join(bench.directory, "layout"));
  await loadRegistry(bench.registry, layout);
  const source = ociLayoutImageSource(layout.directory);
  const { store, reference } = bench;
  const { client } = bench.registry;
  const created = await createIndex({ source, store, minLayerSizeBytes: 0 });
  await pushIndex({ client, store, reference });
  const index = parseSociIndex(await store.readBlob(created.indexDescriptor.digest));
  const { manifest } = await source.resolve(undefined);
  return { client, repository: reference, index, layers: manifest.layers };
}

describe("fetchZtocs()", () => {
  it("gives each layer its ztoc in the order of the layers, and reads one of a repeated layer once", async () => {
    await using bench = await openBench();
    const options = await pushed(bench);
    const [first, second] = options.layers;
    let reads = 0;
    const client: FetchZtocsOptions["client"] = {
      fetchBlob: (...asked) => {
        reads += 1;
        return options.client.fetchBlob(...asked);
      },
    };
    const layers = [second!, first!, second!];
    const ztocs = await fetchZtocs({ ...options, client, layers });
    assert.deepEqual(
      ztocs.map((ztoc) => ztoc.kind === "indexed" && ztoc.index.compressedSizeBytes),
      layers.map(({ size }) => size),
    );
    assert.equal(reads, 2);
  });

  it("says why a layer has none, and the others have theirs", async () => {
    await using bench = await openBench();
    const options = await pushed(bench);
    const [first, second] = options.index.ztocs;
    bench.registry.blobs.delete(first!.descriptor.digest);
    const [gone, there] = await fetchZtocs(options);
    assert.equal(gone?.kind, "unusable");
    assert.match(gone?.kind === "unusable" ? gone.why : "", /Cannot read blob/);
    assert.equal(there?.kind, "indexed");
    const bad = Buffer.from("no ztoc");
    bench.registry.blobs.set(first!.descriptor.digest, bad);
    assert.equal((await fetchZtocs(options))[0]?.kind, "unusable");
    const index = { ...options.index, ztocs: [second!] };
    assert.equal((await fetchZtocs({ ...options, index }))[0]?.kind, "absent");
  });

  it("does not ask for one that is larger than a node takes, and says what helps", async () => {
    await using bench = await openBench();
    const options = await pushed(bench);
    const [first, second] = options.index.ztocs;
    const size = MAX_ZTOC_BYTES + 1;
    const large = { ...first!, descriptor: { ...first!.descriptor, size } };
    const index = { ...options.index, ztocs: [large, second!] };
    const [refused, there] = await fetchZtocs({ ...options, index });
    assert.equal(there?.kind, "indexed");
    assert.match(
      refused?.kind === "unusable" ? refused.why : "",
      /has 536870913 bytes, want at most 536870912: index the layer with a larger span size \(soci create --span-size\)/,
    );
  });

  it("fails when the registry can't be asked or wants us to wait", async () => {
    await using bench = await openBench();
    const options = await pushed(bench);
    bench.registry.faults.set("fetchBlob", new AppError("unavailable", "registry away"));
    await assert.rejects(fetchZtocs(options), failure("unavailable", /away/));
    bench.registry.faults.set("fetchBlob", new RegistryError("fetch", { status: 429 }));
    await assert.rejects(fetchZtocs(options), failure("resource_exhausted", /429/));
    bench.registry.faults.set("fetchBlob", new AppError("resource_exhausted", "too long"));
    assert.equal((await fetchZtocs(options))[0]?.kind, "unusable");
  });
});
