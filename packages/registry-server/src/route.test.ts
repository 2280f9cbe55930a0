import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseRoute } from "./route.ts";
import { SpecError } from "./spec-error.ts";

const SHA256 = `sha256:${"a".repeat(64)}`;
const SHA512 = `sha512:${"0".repeat(128)}`;

describe("parseRoute()", () => {
  const good: [path: string, route: object][] = [
    ["/v2", { kind: "base" }],
    ["/v2/", { kind: "base" }],
    [`/v2/a/blobs/${SHA256}`, { kind: "blob", repository: "a", digest: SHA256 }],
    [`/v2/a/b/c/blobs/${SHA512}`, { kind: "blob", repository: "a/b/c", digest: SHA512 }],
    [
      `/v2/a/blobs/${SHA256.replace(":", "%3A")}`,
      { kind: "blob", repository: "a", digest: SHA256 },
    ],
    ["/v2/a/blobs/uploads/", { kind: "uploads", repository: "a" }],
    ["/v2/a/blobs/uploads", { kind: "uploads", repository: "a" }],
    ["/v2/a/b/blobs/uploads/x-1", { kind: "upload", repository: "a/b", id: "x-1" }],
    ["/v2/a/tags/list", { kind: "tags", repository: "a" }],
    [`/v2/a/referrers/${SHA256}`, { kind: "referrers", repository: "a", subject: SHA256 }],
    [
      "/v2/a/manifests/v1.0",
      { kind: "manifest", repository: "a", reference: { kind: "tag", tag: "v1.0" } },
    ],
    [
      `/v2/a/manifests/${SHA512}`,
      { kind: "manifest", repository: "a", reference: { kind: "digest", digest: SHA512 } },
    ],
    [
      "/v2/a/manifests/.hidden",
      { kind: "manifest", repository: "a", reference: { kind: "invalid", text: ".hidden" } },
    ],
    [
      "/v2/blobs/manifests/tags/manifests/list",
      {
        kind: "manifest",
        repository: "blobs/manifests/tags",
        reference: { kind: "tag", tag: "list" },
      },
    ],
    ["/v2/blobs/uploads/tags/list", { kind: "tags", repository: "blobs/uploads" }],
    ["/v2/uploads/blobs/uploads/", { kind: "uploads", repository: "uploads" }],
  ];
  for (const [path, route] of good) {
    it(`reads ${path}`, () => assert.deepEqual(parseRoute(path), route));
  }

  const bad: [path: string, code: string, status: number][] = [
    ["", "UNSUPPORTED", 404],
    ["/", "UNSUPPORTED", 404],
    ["/v1/", "UNSUPPORTED", 404],
    ["/v2x", "UNSUPPORTED", 404],
    ["/v2/_catalog", "UNSUPPORTED", 404],
    ["/v2/a/tags/other", "UNSUPPORTED", 404],
    ["//v2/", "UNSUPPORTED", 404],
    ["/v2/manifests/v1", "NAME_INVALID", 400],
    ["/v2//manifests/v1", "NAME_INVALID", 400],
    ["/v2/../manifests/v1", "NAME_INVALID", 400],
    ["/v2/a/../b/manifests/v1", "NAME_INVALID", 400],
    ["/v2/a/%2e%2e/b/manifests/v1", "NAME_INVALID", 400],
    ["/v2/a%2Fb/manifests/v1", "NAME_INVALID", 400],
    ["/v2/a%00/manifests/v1", "NAME_INVALID", 400],
    ["/v2/a%/manifests/v1", "NAME_INVALID", 400],
    ["/v2/A/manifests/v1", "NAME_INVALID", 400],
    ["/v2/a--/manifests/v1", "NAME_INVALID", 400],
    ["/v2/a..b/manifests/v1", "NAME_INVALID", 400],
    ["/v2/a___b/manifests/v1", "NAME_INVALID", 400],
    [`/v2/${"a".repeat(256)}/manifests/v1`, "NAME_INVALID", 400],
    ["/v2/a/blobs/sha256:xyz", "DIGEST_INVALID", 400],
    [`/v2/a/blobs/${SHA256.toUpperCase()}`, "DIGEST_INVALID", 400],
    [`/v2/a/blobs/md5:${"0".repeat(32)}`, "DIGEST_INVALID", 400],
    ["/v2/a/blobs/..%2f..%2fetc%2fpasswd", "DIGEST_INVALID", 400],
    ["/v2/a/referrers/latest", "DIGEST_INVALID", 400],
    ["/v2/a/manifests/sha256:1", "DIGEST_INVALID", 400],
  ];
  for (const [path, code, status] of bad) {
    it(`refuses ${path.slice(0, 60)}`, () => {
      assert.throws(
        () => parseRoute(path),
        (error: unknown) =>
          error instanceof SpecError && error.specCode === code && error.status === status,
      );
    });
  }

  it("keeps component rules: one dot, one or two underscores, any dashes", () => {
    for (const name of ["a.b", "a_b", "a__b", "a-b", "a---b", "0/1", "a.b/c_d"]) {
      assert.deepEqual(parseRoute(`/v2/${name}/tags/list`), { kind: "tags", repository: name });
    }
  });

  it("either reads or refuses every cut and every mutation of a path", () => {
    const seeds = good.map(([path]) => path);
    for (const path of seeds) {
      for (let end = 0; end <= path.length; end++) readOrRefuse(path.slice(0, end));
    }
    let state = 1;
    const random = (below: number): number => {
      state = (state * 48_271) % 2_147_483_647;
      return state % below;
    };
    const alphabet = "/.%:-_aA0\u0000 é?#";
    for (let i = 0; i < 20_000; i++) {
      const path = seeds[random(seeds.length)]!;
      const at = random(path.length);
      readOrRefuse(
        path.slice(0, at) + alphabet[random(alphabet.length)] + path.slice(at + random(3)),
      );
    }
  });

  it("reads a long hostile name in no time", () => {
    const start = performance.now();
    for (const part of ["-", "_", ".", "a-", "a"])
      readOrRefuse(`/v2/${part.repeat(15_000)}!/tags/list`);
    assert.ok(performance.now() - start < 500);
  });
});

function readOrRefuse(path: string): void {
  try {
    const route = parseRoute(path);
    if ("repository" in route) assert.match(route.repository, /^[a-z0-9][a-z0-9._/-]*$/);
  } catch (error) {
    assert.ok(error instanceof SpecError, String(error));
  }
}
