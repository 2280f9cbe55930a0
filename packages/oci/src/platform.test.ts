import assert from "node:assert/strict";
import { test } from "node:test";
import { sha256 } from "@soci-ts/core";
import { MEDIA_TYPE_OCI_MANIFEST, MEDIA_TYPE_SOCI_INDEX_V2 } from "./media-types.ts";
import {
  formatPlatform,
  hostPlatform,
  isSamePlatform,
  normalizePlatform,
  parsePlatform,
  selectManifest,
} from "./platform.ts";
import type { Descriptor, ImageIndex } from "./types.ts";

function entry(platform: string | undefined, fields: Partial<Descriptor> = {}): Descriptor {
  const digest = sha256(Buffer.from(`${platform}${JSON.stringify(fields)}`));
  return {
    mediaType: MEDIA_TYPE_OCI_MANIFEST,
    digest,
    size: 1,
    ...(platform !== undefined && { platform: parsePlatform(platform) }),
    ...fields,
  };
}

function indexOf(...manifests: Descriptor[]): ImageIndex {
  return { schemaVersion: 2, manifests };
}

test("parsePlatform() understands other names of an architecture", () => {
  assert.deepEqual(parsePlatform("linux/arm64/v8"), {
    os: "linux",
    architecture: "arm64",
    variant: "v8",
  });
  assert.equal(formatPlatform(parsePlatform("Linux/x86_64")), "linux/amd64");
  assert.equal(formatPlatform(parsePlatform("linux/aarch64")), "linux/arm64");
});

test("normalizePlatform() spells a platform as containerd does, and keeps the rest", () => {
  const cases: readonly [architecture: string, variant: string | undefined, want: string][] = [
    ["amd64", undefined, "linux/amd64"],
    ["AMD64", "v1", "linux/amd64"],
    ["x86_64", "v3", "linux/amd64/v3"],
    ["arm64", "v8", "linux/arm64"],
    ["aarch64", "8", "linux/arm64"],
    ["arm64", "v9", "linux/arm64/v9"],
    ["arm", undefined, "linux/arm/v7"],
    ["arm", "6", "linux/arm/v6"],
    ["i386", undefined, "linux/386"],
    ["s390x", "", "linux/s390x"],
  ];
  for (const [architecture, variant, want] of cases) {
    const normal = normalizePlatform({ os: "Linux", architecture, variant });
    assert.equal(formatPlatform(normal), want);
    assert.ok(!("variant" in normal) || normal.variant !== undefined, architecture);
  }
  const windows = { os: "windows", architecture: "amd64", "os.version": "10.0.1" };
  assert.deepEqual(normalizePlatform(windows), windows);
});

test("isSamePlatform() takes no other variant or system version for it", () => {
  const same = (a: string, b: string): boolean =>
    isSamePlatform(parsePlatform(a), parsePlatform(b));
  assert.ok(same("linux/arm64", "linux/arm64/v8"));
  assert.ok(same("linux/arm", "linux/arm/v7"));
  assert.ok(!same("linux/arm/v6", "linux/arm/v7"));
  assert.ok(!same("linux/amd64", "linux/amd64/v2"));
  assert.ok(!same("linux/amd64", "windows/amd64"));
  const windows = { os: "windows", architecture: "amd64", "os.version": "10.0.1" };
  assert.ok(!isSamePlatform(windows, { ...windows, "os.version": "10.0.2" }));
});

test("parsePlatform() refuses what is no platform", () => {
  for (const text of [
    "",
    "linux",
    "linux/",
    "/amd64",
    "a/b/c/d",
    "linux/amd64\n",
    "linux/am d64",
  ]) {
    assert.throws(() => parsePlatform(text), { code: "invalid_argument" }, text);
  }
});

test("hostPlatform() maps Node's architectures", () => {
  assert.equal(formatPlatform(hostPlatform("x64")), "linux/amd64");
  assert.equal(formatPlatform(hostPlatform("arm")), "linux/arm/v7");
  assert.equal(formatPlatform(hostPlatform("riscv64")), "linux/riscv64");
});

const CHOICES: readonly [
  name: string,
  wanted: string,
  offered: string[],
  want: string | undefined,
][] = [
  ["the exact one", "linux/amd64", ["linux/arm64", "linux/amd64"], "linux/amd64"],
  ["arm64 with v8 implied", "linux/arm64", ["linux/arm64/v8"], "linux/arm64/v8"],
  ["arm64 without variant for v8", "linux/arm64/v8", ["linux/arm64"], "linux/arm64"],
  ["the nearest older arm", "linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], "linux/arm/v6"],
  ["the plain amd64 for v3", "linux/amd64/v3", ["linux/amd64", "linux/amd64/v4"], "linux/amd64"],
  ["nothing newer", "linux/arm/v6", ["linux/arm/v7"], undefined],
  ["nothing of another system", "linux/amd64", ["windows/amd64"], undefined],
];

for (const [name, wanted, offered, want] of CHOICES) {
  test(`selectManifest() gives ${name}`, () => {
    const choose = (): Descriptor =>
      selectManifest(indexOf(...offered.map((text) => entry(text))), parsePlatform(wanted));
    if (want === undefined) assert.throws(choose, { code: "not_found" });
    else assert.equal(formatPlatform(choose().platform!), want);
  });
}

test("selectManifest() passes over SOCI indexes and attestations", () => {
  const image = entry("linux/amd64");
  const soci = entry("linux/amd64", { artifactType: MEDIA_TYPE_SOCI_INDEX_V2 });
  const attestation = entry("unknown/unknown");
  assert.equal(
    selectManifest(indexOf(soci, attestation, image), parsePlatform("linux/amd64")),
    image,
  );
  assert.throws(
    () => selectManifest(indexOf(soci, attestation), parsePlatform("linux/amd64")),
    /has no image/,
  );
});

test("selectManifest() takes an only image that names no platform", () => {
  const image = entry(undefined);
  assert.equal(selectManifest(indexOf(image), parsePlatform("linux/s390x")), image);
  assert.throws(
    () => selectManifest(indexOf(image, entry("linux/arm")), parsePlatform("linux/s390x")),
    { code: "not_found" },
  );
});

test("selectManifest() says what there is", () => {
  const index = indexOf(entry("linux/amd64"), entry("linux/arm/v7"));
  assert.throws(
    () => selectManifest(index, parsePlatform("linux/s390x")),
    /for linux\/s390x: the index has linux\/amd64, linux\/arm\/v7,/,
  );
});
