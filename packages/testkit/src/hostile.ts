import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { HangWatch } from "./hang-watch.ts";
import { mutationsOf } from "./hostile-readers.ts";
import { type MutateOptions, mutate } from "./mutate.ts";
import { seededRandom } from "./tar-builder.ts";

/** A reader of bytes that nobody vouches for. */
export interface HostileReader {
  /** Its name in the table of readers, and of its folder of found inputs in the package's `testdata/hostile`. */
  readonly name: string;
  /** Inputs that it reads, from which mutations are made. */
  readonly seeds: readonly Uint8Array[];
  /** Reads one, and asserts of what comes out whatever must hold. Throws the reader's errors as they are. */
  readonly read: (bytes: Uint8Array) => unknown;
  /** See {@link MutateOptions}; of each seed. */
  readonly hot?: (seed: Uint8Array) => MutateOptions["hot"];
  /** See {@link MutateOptions}. */
  readonly tokens?: readonly string[];
  /** Makes checksums right again, so that mutations reach what lies behind them. */
  readonly seal?: (bytes: Uint8Array) => void;
  /** Error codes that are an answer to bad input, besides `data_loss`, `resource_exhausted` and `unimplemented`. */
  readonly codes?: readonly string[];
}

const CODES = ["data_loss", "resource_exhausted", "unimplemented"];
const DEFAULT_SEED = 20_261_127;
/** Of ten mutations, so many get their checksums right. */
const SEALED_SHARE = 0.8;
/** An input of some kilobytes that takes so long would take a large one for ever. */
const MOST_MS = 5_000;
/** One that takes so long never ends, however busy the machine. */
const HANG_MS = 60000;
/** No small input may make a reader take more memory than this. */
const MOST_BYTES = 384 * 2 ** 20;

/**
 * Tests readers against hostile input: all that was found before, then seeded mutations. Each has to end in a value or in one of the package's
 * errors, which names the offset if it is a FormatError; quickly, and in bounded memory.
 * @param testdata - the package's folder of test data; found inputs are below it, in `hostile/NAME`.
 */
export function testHostileReaders(testdata: URL, readers: readonly HostileReader[]): void {
  for (const reader of readers) {
    describe(`${reader.name}: hostile input`, () => {
      it("reads what is sound", async () => {
        for (const seed of reader.seeds) await reader.read(seed);
      });
      it("gives a value or a typed error for all that was found", async () => {
        for (const { path, bytes } of foundInputs(testdata, reader.name))
          await outcomeOf(reader, bytes, path);
      });
      it("gives a value or a typed error for any mutation", (context) =>
        runMutations(reader, context));
    });
  }
}

/** Runs an action that may fail as a reader may; anything else that it throws is thrown on. Says whether it succeeded. */
export function succeeds(action: () => unknown, codes: readonly string[] = []): boolean {
  try {
    action();
    return true;
  } catch (error) {
    if (!isAnswer(error, codes)) throw error;
    return false;
  }
}

async function runMutations(reader: HostileReader, context: TestContext): Promise<void> {
  const count = mutationsOf(reader.name);
  const seed = Number(process.env["SOCI_TEST_SEED"] ?? DEFAULT_SEED);
  const random = seededRandom(seed);
  // Tens of thousands of errors are made, and their stacks would be most of the cost.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  const maxBytes = 4 * Math.max(...reader.seeds.map((bytes) => bytes.length));
  const watch = await HangWatch.start({
    path: keptPath(`${reader.name}-hangs`),
    mostMs: HANG_MS,
    maxBytes,
  });
  const startBytes = peakBytes();
  const startCpu = process.cpuUsage();
  let read = 0;
  try {
    for (let round = 0; round < count; round += 1) {
      const bytes = mutation(reader, random);
      watch.enter(bytes);
      read += Number(await outcomeOf(reader, bytes, `seed ${seed}, mutation ${round}`));
      if (round % 64 === 63) await new Promise(setImmediate);
    }
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    await watch.close();
  }
  const grown = peakBytes() - startBytes;
  const { user, system } = process.cpuUsage(startCpu);
  context.diagnostic(
    `${count} mutations, seed ${seed}: ${read} read, ${count - read} refused, ${((user + system) / 1e6).toFixed(2)} s of processor time, ${Math.round(grown / 2 ** 20)} MiB`,
  );
  assert.ok(read > 0 && read < count, `${read} of ${count} were read, want some and not all`);
  assert.ok(grown < MOST_BYTES, `memory grew by ${grown} bytes, want less than ${MOST_BYTES}`);
}

function mutation(reader: HostileReader, random: () => number): Uint8Array {
  const { seeds, hot, tokens, seal } = reader;
  const seed = seeds[Math.floor(random() * seeds.length)] as Uint8Array;
  const bytes = mutate(seed, random, { others: seeds, hot: hot?.(seed), tokens });
  if (random() < SEALED_SHARE) seal?.(bytes);
  return bytes;
}

/** True if it was read, false if it was refused as it should be. An input that does neither is kept, and named. */
async function outcomeOf(
  reader: HostileReader,
  bytes: Uint8Array,
  where: string,
): Promise<boolean> {
  const start = performance.now();
  let error: unknown;
  try {
    await reader.read(bytes);
  } catch (thrown) {
    error = thrown ?? new Error("nothing was thrown");
  }
  const tookMs = performance.now() - start;
  const isRead = error === undefined;
  if (tookMs < MOST_MS && (isRead || isAnswer(error, reader.codes))) return isRead;
  const path = keep(reader.name, bytes);
  const state = tookMs < MOST_MS ? await describeAgain(reader, bytes) : `took ${tookMs} ms`;
  throw new Error(`${reader.name} (${where}; ${bytes.length} bytes kept as ${path}): ${state}`, {
    cause: error,
  });
}

/** Reads it once more, with a stack. */
async function describeAgain(reader: HostileReader, bytes: Uint8Array): Promise<string> {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 20;
  try {
    await reader.read(bytes);
    return "failed once, and not again";
  } catch (error) {
    return error instanceof Error ? String(error.stack) : String(error);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** By its shape: this package shares no code with those that it helps to test. */
function isAnswer(error: unknown, codes: readonly string[] = []): boolean {
  if (!(error instanceof Error) || !("code" in error) || !("details" in error)) return false;
  const isExpected = CODES.includes(String(error.code)) || codes.includes(String(error.code));
  if (!isExpected || error.name !== "FormatError") return isExpected;
  return "offset" in error && Number.isSafeInteger(error.offset) && Number(error.offset) >= 0;
}

function foundInputs(testdata: URL, name: string): { path: string; bytes: Uint8Array }[] {
  const folder = fileURLToPath(new URL(`hostile/${name}/`, testdata));
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .sort()
    .map((file) => join(folder, file))
    .map((path) => ({ path, bytes: new Uint8Array(readFileSync(path)) }));
}

function keep(name: string, bytes: Uint8Array): string {
  const path = keptPath(name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
  return path;
}

function keptPath(name: string): string {
  return join(tmpdir(), "soci-hostile", `${name}-${Date.now()}`);
}

function peakBytes(): number {
  return process.resourceUsage().maxRSS * 1024;
}
