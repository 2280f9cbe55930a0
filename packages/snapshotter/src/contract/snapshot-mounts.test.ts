import assert from "node:assert/strict";
import { test } from "node:test";
import type { OverlayFeatures } from "./overlay-features.ts";
import type { SnapshotRecord } from "./records.ts";
import { lowersOf, snapshotMounts } from "./snapshot-mounts.ts";

const FEATURES: OverlayFeatures = {
  indexOff: true,
  redirectDir: true,
  metacopyOff: true,
  xinoOn: false,
  userXattr: false,
};
const OWN = { content: "/r/9/fs", work: "/r/9/work" };

function chain(...layers: readonly (number | undefined)[]): readonly SnapshotRecord[] {
  return layers.map((layer, at) => ({ id: at + 1, layer }) as SnapshotRecord);
}

test("lowersOf() gives the top first, and a layer that stands there twice where it stands highest", () => {
  assert.deepEqual(lowersOf(chain(5, undefined, 7, 5, undefined)), [
    { kind: "directory", id: 5 },
    { kind: "layer", layer: 5 },
    { kind: "layer", layer: 7 },
    { kind: "directory", id: 2 },
  ]);
});

test("snapshotMounts() binds where there is one directory only", () => {
  const bottom = { ...OWN, lowers: [] };
  const bind = (source: string, access: string) => [
    { type: "bind", source, options: [access, "rbind"] },
  ];
  assert.deepEqual(
    snapshotMounts({ ...bottom, kind: "active" }, FEATURES),
    bind(OWN.content, "rw"),
  );
  assert.deepEqual(snapshotMounts({ ...bottom, kind: "view" }, FEATURES), bind(OWN.content, "ro"));
  assert.deepEqual(
    snapshotMounts({ ...OWN, lowers: ["/l/1"], kind: "view" }, FEATURES),
    bind("/l/1", "ro"),
  );
});

test("snapshotMounts() stacks the rest, with the options that the kernel takes", () => {
  const options = (
    kind: "active" | "view",
    lowers: readonly string[],
    features: Partial<OverlayFeatures>,
  ) => snapshotMounts({ ...OWN, kind, lowers }, { ...FEATURES, ...features })[0]?.options;
  const upper = [`workdir=${OWN.work}`, `upperdir=${OWN.content}`];
  assert.deepEqual(options("active", ["/l/1"], {}), [
    "index=off",
    "redirect_dir=on",
    "metacopy=off",
    ...upper,
    "lowerdir=/l/1",
  ]);
  assert.deepEqual(options("view", ["/l/2", "/l/1"], {}), [
    "index=off",
    "redirect_dir=follow",
    "metacopy=off",
    "lowerdir=/l/2:/l/1",
  ]);
  const none = {
    indexOff: false,
    redirectDir: false,
    metacopyOff: false,
    xinoOn: false,
    userXattr: true,
  };
  assert.deepEqual(options("active", ["/l/1"], none), ["userxattr", ...upper, "lowerdir=/l/1"]);
});
