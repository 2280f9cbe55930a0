import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sha256 } from "@soci-ts/core";
import type { LayerStory } from "@soci-ts/snapshotter";
import { RecentStories } from "./recent-stories.ts";

function story(imageReference: string, manifest: string, layer: string, why = ""): LayerStory {
  const [manifestDigest, layerDigest] = [sha256(Buffer.from(manifest)), sha256(Buffer.from(layer))];
  const steps = [{ tried: "index", worked: true, why }] as const;
  return { imageReference, manifestDigest, layerDigest, steps };
}

const whys = (stories: readonly LayerStory[]): unknown => stories.map(({ steps }) => steps[0]?.why);

describe("RecentStories", () => {
  it("keeps the layers of an image in their order, the newest story of each", () => {
    const stories = new RecentStories();
    stories.note(story("app:1", "m", "a", "first"));
    stories.note(story("app:1", "m", "b", "second"));
    stories.note(story("app:1", "m", "a", "again"));
    stories.note(story("other:1", "m", "a", "other"));
    assert.deepEqual(whys(stories.about("app:1")), ["again", "second"]);
    assert.deepEqual(stories.about("none:1"), []);
  });

  it("forgets an image's old manifest, and the images asked for longest ago", () => {
    const stories = new RecentStories();
    stories.note(story("app:1", "old", "a", "old"));
    stories.note(story("app:1", "new", "b", "new"));
    assert.deepEqual(whys(stories.about("app:1")), ["new"]);
    for (let at = 0; at < 99; at += 1) stories.note(story(`image:${at}`, "m", "a"));
    stories.note(story("app:1", "new", "c", "used"));
    stories.note(story("image:99", "m", "a"));
    assert.deepEqual(whys(stories.about("app:1")), ["new", "used"]);
    assert.deepEqual(stories.about("image:0"), []);
  });
});
