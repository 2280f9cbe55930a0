import type { LayerStory } from "@soci-ts/snapshotter";

/** Images that are remembered. */
const MAX_IMAGES = 100;

interface ImageStories {
  readonly manifestDigest: string;
  /** By layer, in the order that they were asked for. */
  readonly layers: Map<string, LayerStory>;
}

/** What became of the layers of the images that were asked for last: when a pull fails, containerd removes their snapshots, and this is all that tells why. */
export class RecentStories {
  readonly #images = new Map<string, ImageStories>();

  /** Keeps a layer's story; a newer one of the same layer goes in its place. */
  note(story: LayerStory): void {
    const { imageReference, manifestDigest, layerDigest } = story;
    const known = this.#images.get(imageReference);
    const isSame = known?.manifestDigest === manifestDigest;
    const image = isSame ? known : { manifestDigest, layers: new Map<string, LayerStory>() };
    image.layers.set(layerDigest, story);
    this.#images.delete(imageReference);
    this.#images.set(imageReference, image);
    const [oldest] = this.#images.keys();
    if (this.#images.size > MAX_IMAGES && oldest !== undefined) this.#images.delete(oldest);
  }

  /** The layers of an image's newest manifest, the first that was asked for first. */
  about(imageReference: string): readonly LayerStory[] {
    return [...(this.#images.get(imageReference)?.layers.values() ?? [])];
  }
}
