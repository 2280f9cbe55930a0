import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FormatError } from "@soci-ts/core";
import { parseDockerArchiveManifest } from "./docker-archive.ts";

function parse(value: unknown): unknown {
  return parseDockerArchiveManifest(Buffer.from(JSON.stringify(value)));
}

describe("parseDockerArchiveManifest()", () => {
  it("takes what docker save writes, also of an image without a name or without layers", () => {
    const list = [
      { Config: "c.json", RepoTags: ["app:v1", "app:v2"], Layers: ["a/layer.tar"], Parent: "x" },
      { Config: "d.json", RepoTags: null, Layers: null },
    ];
    assert.deepEqual(parse(list), [
      { config: "c.json", repoTags: ["app:v1", "app:v2"], layers: ["a/layer.tar"] },
      { config: "d.json", repoTags: [], layers: [] },
    ]);
  });

  it("names the place of what is wrong", () => {
    const cases: readonly [string, unknown, RegExp][] = [
      ["no list", {}, /want an array/],
      ["no object", [1], /want an object/],
      ["no config", [{ Layers: [] }], /no "Config"/],
      ["a config that is no text", [{ Config: 1 }], /Config.*want a string/],
      [
        "a layer that is no text",
        [{ Config: "c", Layers: [null] }],
        /Layers.*\[0\].*want a string/,
      ],
      ["too many images", Array(4097).fill({ Config: "c" }), /4097 items/],
      ["a long name", [{ Config: "c".repeat(5000) }], /5000 characters/],
    ];
    for (const [name, value, message] of cases) {
      assert.throws(
        () => parse(value),
        (error) => error instanceof FormatError && message.test(error.message),
        name,
      );
    }
  });
});
