import { openContract } from "./contract-fixture.ts";

/**
 * Makes, commits and removes snapshots for ever, each on the last one; prints a line before and after each step. `node contract-child.js ROOT START`: to be killed.
 */
async function main(root: string, start: number): Promise<void> {
  const { service } = await openContract(root);
  const say = (text: string): void => {
    process.stdout.write(`${text}\n`);
  };
  say("open");
  for (let turn = start; ; turn += 1) {
    const [key, name, scratch] = [`k${turn}`, `c${turn}`, `x${turn}`];
    say(`may ${key}`);
    await service.prepare(key, "", {});
    say(`is ${key}`);
    say(`may ${scratch}`);
    await service.prepare(scratch, "", {});
    say(`is ${scratch}`);
    say(`may ${name} not ${key}`);
    await service.commit(name, key, {});
    say(`is ${name} no ${key}`);
    say(`not ${scratch}`);
    await service.remove(scratch);
    say(`no ${scratch}`);
  }
}

const [root = "", start = "0"] = process.argv.slice(2);
await main(root, Number(start));
