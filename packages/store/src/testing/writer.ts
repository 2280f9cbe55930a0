import process from "node:process";
import { openStore } from "../index.ts";
import { writeIndex } from "./records.ts";

/**
 * A process that adds and removes indexes until it is killed: `node writer.js ROOT NAME`. It says `added DIGEST` and `removed
 * DIGEST` after each is done, and `removing DIGEST` before. All writers use the same few ztocs.
 */
const [root = "", name = ""] = process.argv.slice(2);
const store = await openStore(root);
const mine: string[] = [];
for (let turn = 0; ; turn++) {
  const shared = [`shared ${turn % 3}`, `shared ${(turn + 1) % 3}`];
  const index = await writeIndex(store, `${name}-${turn}`, [...shared, `own ${name} ${turn}`]);
  await store.addIndex(index);
  process.stdout.write(`added ${index.digest}\n`);
  mine.push(index.digest);
  if (turn % 3 === 0) continue;
  const oldest = mine.shift();
  const found = store.listIndexes().find(({ digest }) => digest === oldest);
  if (found === undefined) throw new Error(`index ${oldest} is lost`);
  process.stdout.write(`removing ${found.digest}\n`);
  await store.removeIndex(found.digest);
  process.stdout.write(`removed ${found.digest}\n`);
}
