import { join } from "node:path";
import {
  contentDirectory,
  digestOfText,
  imageLabels,
  openContract,
} from "../testing/contract-fixture.ts";
import { mountObstacle } from "../testing/fixture.ts";
import { runSnapshotSuite } from "../testsuite/index.ts";

const skip = mountObstacle();

runSnapshotSuite({
  name: "snapshots on directories",
  open: (root) => openContract(root),
  skip,
});

runSnapshotSuite({
  name: "snapshots on lazy bottom layers",
  open: async (root) => {
    const opened = await openContract(root, { isLenient: true });
    let count = 0;
    return {
      service: opened.service,
      base: async (fill) => {
        count += 1;
        const directory = contentDirectory(join(root, "content"), String(count));
        fill(directory);
        const digest = digestOfText(`layer ${count}`);
        opened.layers.add(digest, directory);
        const outcome = await opened.service.prepare(
          `extract-${count}`,
          "",
          imageLabels(digestOfText(`chain ${count}`), digest),
        );
        if (outcome.kind !== "already-committed") throw new Error("want a lazy layer");
        return outcome.name;
      },
      [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
    };
  },
  skip,
});
