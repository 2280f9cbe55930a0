// Run by create-together.test.ts as a process of its own: indexes a layout slowly, and prints what came of it and which layers it read.
//   node create-child.js STORE LAYOUT slow|stuck
import { setTimeout as sleep } from "node:timers/promises";
import { openStore } from "@soci-ts/store";
import { createIndex } from "../create-index.ts";
import type { ImageSource } from "../image-source.ts";
import { ociLayoutImageSource } from "../oci-layout-source.ts";

const [, , root = "", layout = "", manner = ""] = process.argv;
const layersRead: string[] = [];

function slowSource(source: ImageSource): ImageSource {
  return {
    reference: source.reference,
    resolve: (platform, options) => source.resolve(platform, options),
    platforms: (options) => source.platforms(options),
    openBlob(descriptor) {
      const blob = source.openBlob(descriptor);
      return {
        size: blob.size,
        readAt: (offset, length, options) => blob.readAt(offset, length, options),
        async *stream(start, end, options) {
          layersRead.push(descriptor.digest);
          if (manner === "stuck") process.stdout.write("stuck\n");
          for await (const piece of blob.stream(start, end, options)) {
            await sleep(manner === "stuck" ? 60_000 : 20);
            yield piece;
          }
        },
      };
    },
  };
}

await using store = await openStore(root);
const created = await createIndex({
  source: slowSource(ociLayoutImageSource(layout)),
  store,
  spanSizeBytes: 65_536,
  minLayerSizeBytes: 0,
  jobs: 2,
});
process.stdout.write(JSON.stringify({ index: created.indexDescriptor.digest, layersRead }));
