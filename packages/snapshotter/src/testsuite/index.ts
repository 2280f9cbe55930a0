import { describe, it } from "node:test";
import { Ground, type SuiteSubject } from "./ground.ts";
import { recordChecks, type SnapshotCheck } from "./record-checks.ts";
import { treeChecks } from "./tree-checks.ts";

export type { SuiteSubject } from "./ground.ts";
export { mountAll, unmountAll } from "./mounting.ts";
export type { SnapshotCheck } from "./record-checks.ts";

/** What a run of the suite needs. */
export interface SuiteOptions {
  /** Names the run. */
  readonly name: string;
  /** Opens a service with nothing in it; `root` is a path where nothing is yet, the test's to use as it likes. */
  open(root: string): Promise<SuiteSubject>;
  /** Why the suite can't run here. */
  readonly skip: string | false;
}

/** Behaviours of containerd's snapshot contract, one check each. */
export const snapshotChecks: readonly SnapshotCheck[] = [...recordChecks, ...treeChecks];

/** Registers all checks as tests of node:test, each on a service of its own. They mount what they are given, so they need root. */
export function runSnapshotSuite({ name, open, skip }: SuiteOptions): void {
  describe(name, { skip }, () => {
    for (const check of snapshotChecks) {
      it(check.name, async () => {
        await using ground = await Ground.open(open);
        await check.run(ground);
      });
    }
  });
}
