import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AppError, sha256 } from "@soci-ts/core";
import type { LayerOutcome, LayerRequest, LayerStep, NodeLayers } from "@soci-ts/snapshotter";
import { createMetrics } from "../metrics.ts";
import { MeteredLayers } from "./metered-layers.ts";

const REQUEST: LayerRequest = {
  imageReference: "app:1",
  manifestDigest: sha256(Buffer.from("m")),
  layerDigest: sha256(Buffer.from("l")),
  chainId: "sha256:c",
};
const NO_INDEX: LayerStep = { tried: "index", worked: false, why: "none", kind: "no_index" };

/** Layers that come to one end. */
function layersWith(kind: LayerOutcome["kind"], ...steps: readonly LayerStep[]): NodeLayers {
  const story = { ...REQUEST, steps };
  return {
    prepareLayer: async () => (kind === "lazy" ? { kind, layer: 1, story } : { kind, story }),
    mountLayers: async () => {
      throw new AppError("unavailable", "Cannot mount");
    },
    retain: () => {},
    removeLayers: async () => {},
    layerUsage: async () => ({ sizeBytes: 0, inodes: 0 }),
    async [Symbol.asyncDispose]() {},
  };
}

describe("MeteredLayers", () => {
  it("counts what became of layers, and each step back", async () => {
    const metrics = createMetrics();
    const cases = [
      layersWith("lazy", { tried: "index", worked: true, why: "bound" }),
      layersWith("lazy", NO_INDEX, { tried: "stream", worked: true, why: "read whole" }),
      layersWith("pull", NO_INDEX, { tried: "stream", worked: false, why: "no space" }),
    ];
    for (const layers of cases) await new MeteredLayers(layers, metrics).prepareLayer(REQUEST);
    const text = await metrics.text();
    for (const outcome of ["lazy", "streamed", "pulled"]) {
      assert.match(
        text,
        new RegExp(`^soci_snapshotter_layers_total{outcome="${outcome}"} 1$`, "m"),
      );
    }
    assert.match(text, /^soci_snapshotter_fallbacks_total{kind="no_index"} 2$/m);
    assert.match(text, /^soci_snapshotter_fallbacks_total{kind="stream_failed"} 1$/m);
    assert.match(text, /^soci_snapshotter_unknown_metrics_total 0$/m);
  });

  it("hands the failure of a mount on, and shows it", async () => {
    const layers = new MeteredLayers(layersWith("lazy"), createMetrics());
    await assert.rejects(layers.mountLayers([1]), { code: "unavailable" });
    assert.deepEqual(layers.fallbacks(), [{ kind: "mount_failed", count: 1 }]);
  });
});
