import { ociLayoutImageSource } from "@soci-ts/soci";
import { openStore } from "@soci-ts/store";
import { mountImage } from "../mount-image.ts";
import type { Door } from "../mount-record.ts";
import { layersOf, testServer } from "./fixture.ts";

/* Mounts an image as a process of its own, for the tests that kill it: ROOT LAYOUT TARGET RUNTIME DOOR. Prints `begin` and `end`. */

const [root = "", layout = "", target = "", runtimeRoot = "", door = "auto"] =
  process.argv.slice(2);
await using store = await openStore(root);
const { layers, manifestDigest } = await layersOf(layout, () => true);
process.stdout.write("begin\n");
await mountImage({
  store,
  target,
  reference: "test.example/image:latest",
  manifestDigest,
  layers,
  blobs: ociLayoutImageSource(layout),
  source: layout,
  server: testServer(),
  runtimeRoot,
  door: door as Door,
});
process.stdout.write("end\n");
