import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { AppError, delay, sha256, silentLogger, silentMetrics } from "@soci-ts/core";
import type { LayerOutcome, LayerRequest } from "../contract/types.ts";
import { temporary, until } from "../testing/temporary.ts";
import { ImageJobs, type ImageJobsOptions } from "./image-jobs.ts";

const SCRIPT = fileURLToPath(new URL("../testing/scripted-worker.js", import.meta.url));

/** A request for a layer of an image whose name tells its worker what to do. */
function request(script: string, position = 0, registry = "example.org"): LayerRequest {
  const manifestDigest = sha256(Buffer.from(script));
  return {
    imageReference: `${registry}/${script}`,
    manifestDigest,
    layerDigest: manifestDigest,
    chainId: `chain ${position}`,
  };
}

interface Bench {
  readonly jobs: ImageJobs;
  readonly incoming: string;
  /** The processes that took a job so far, one for each job. */
  workers(): readonly number[];
  /** Lets workers that wait go on. */
  go(): void;
}

async function benched(
  test: (bench: Bench) => Promise<void>,
  options: Partial<ImageJobsOptions> = {},
): Promise<void> {
  await using scratch = await temporary();
  const [notes, incoming] = [join(scratch.path, "notes"), join(scratch.path, "incoming")];
  await mkdir(notes);
  await using jobs = new ImageJobs({
    worker: { argv: [process.execPath, SCRIPT, notes], environment: { PATH: "/usr/bin" } },
    incoming,
    take: async (report, below) => numbered(report.position, below),
    failureMemoryMs: 200,
    logger: silentLogger,
    metrics: silentMetrics,
    ...options,
  });
  const workers = (): readonly number[] => {
    const names = readdirSync(notes).filter((name) => /\d/.test(name));
    return names.map((name) => Number(name.split(".")[0]));
  };
  const go = (): void => writeFileSync(join(notes, "go"), "");
  await test({ jobs, incoming, workers, go });
}

/** Layers are numbered by their position, from 10. */
function numbered(position: number, below: readonly LayerOutcome[]): LayerOutcome {
  assert.deepEqual(
    below.map((outcome) => outcome.kind === "lazy" && outcome.layer),
    Array.from({ length: position }, (_, at) => 10 + at),
  );
  return { kind: "lazy", layer: 10 + position, story: STORY };
}

const STORY = {
  imageReference: "",
  manifestDigest: sha256(Buffer.from("")),
  layerDigest: sha256(Buffer.from("")),
  steps: [],
};

function layerOf(outcome: LayerOutcome): number | undefined {
  return outcome.kind === "lazy" ? outcome.layer : undefined;
}

/** True while the process is there and is no zombie. */
function isAlive(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}

/** No files are left, and no processes but those that wait for a job. */
function noneLeft({ workers, incoming }: Bench, maxSpares = 2): void {
  assert.ok(new Set(workers().filter(isAlive)).size <= maxSpares);
  assert.deepEqual(readdirSync(incoming), []);
}

describe("ImageJobs", () => {
  it("asks one worker for all layers of an image, and keeps what it said", async () => {
    await benched(async (bench) => {
      const { jobs, workers } = bench;
      const asked = [1, 0, 1].map((position) => jobs.outcome(request("layers-end", position)));
      assert.deepEqual((await Promise.all(asked)).map(layerOf), [11, 10, 11]);
      await until("the job ends", () => jobs.running === 0);
      assert.equal(layerOf(await jobs.outcome(request("layers-end", 1))), 11);
      assert.equal(workers().length, 1);
      noneLeft(bench);
      await assert.rejects(jobs.outcome(request("layers-end", 2)), { code: "not_found" });
      jobs.forget(request("layers-end"));
      assert.equal(layerOf(await jobs.outcome(request("layers-end", 1))), 11);
      assert.equal(workers().length, 2);
    });
  });

  it("begins an image once more whose worker was killed", async () => {
    await benched(async (bench) => {
      const { jobs, workers } = bench;
      const image = "layer0-dieonce-layer1-end";
      const asked = [0, 1].map((position) => jobs.outcome(request(image, position)));
      assert.deepEqual((await Promise.all(asked)).map(layerOf), [10, 11]);
      await until("the job ends", () => jobs.running === 0);
      assert.equal(workers().length, 2);
      noneLeft(bench);
    });
  });

  it("adds what workers count to the daemon's figures", async () => {
    const counted: unknown[] = [];
    const count = (name: string, amount?: number): void => {
      counted.push([name, amount]);
    };
    const work = async ({ jobs }: Bench): Promise<void> => {
      await jobs.outcome(request("layers-count-end"));
      await until("the job ends", () => jobs.running === 0);
      await assert.rejects(jobs.outcome(request("count-fail")), { code: "unavailable" });
    };
    await benched(work, { metrics: { ...silentMetrics, count } });
    const requests = ["soci_registry_requests_total", 3];
    assert.deepEqual(counted, [requests, requests]);
  });

  it("tells of the layers that are ready while others are not", async () => {
    await benched(async ({ jobs, go }) => {
      const second = jobs.outcome(request("layer0-wait-layer1-end", 1));
      assert.equal(layerOf(await jobs.outcome(request("layer0-wait-layer1-end", 0))), 10);
      go();
      assert.equal(layerOf(await second), 11);
    });
  });

  it("gives a worker that ended its image well another one, and none that did not", async () => {
    await benched(async ({ jobs, workers }) => {
      for (const script of ["layers-end", "layer0-end", "layer0-fail", "layers-layer0-end"]) {
        await jobs.outcome(request(script)).catch(() => {});
        await until("the job ends", () => jobs.running === 0);
      }
      const [first, second, third, fourth] = workers();
      assert.equal(workers().length, 4);
      assert.equal(new Set([first, second, third]).size, 1);
      assert.notEqual(fourth, first);
    });
  });

  it("ends a worker that has grown, or has had its share of images", async () => {
    await benched(async ({ jobs, workers }) => {
      for (let at = 0; at < 17; at += 1) {
        assert.equal(layerOf(await jobs.outcome(request(`layers-end-${at}`))), 10);
        await until("the job ends", () => jobs.running === 0);
      }
      assert.equal(new Set(workers()).size, 2);
    });
    await benched(async ({ jobs, workers }) => {
      for (const script of ["layers-grown", "layers-end"]) {
        assert.equal(layerOf(await jobs.outcome(request(script))), 10);
        await until("the job ends", () => jobs.running === 0);
      }
      assert.equal(new Set(workers()).size, 2);
    });
  });

  it("says why an image failed, remembers it for a while, then tries anew", async () => {
    await benched(async (bench) => {
      const { jobs, workers } = bench;
      for (let turn = 0; turn < 2; turn += 1) {
        const failed = { code: "unavailable", message: "no registry" };
        await assert.rejects(jobs.outcome(request("fail")), failed);
      }
      assert.equal(workers().length, 1);
      await until("the job ends", () => jobs.running === 0);
      noneLeft(bench);
      await until("it is tried anew", async () => {
        await assert.rejects(jobs.outcome(request("fail")));
        return workers().length === 2;
      });
    });
  });

  it("remembers a layer that was left to containerd for no longer", async () => {
    const take = async (): Promise<LayerOutcome> => ({ kind: "pull", story: STORY });
    await benched(
      async ({ jobs, workers }) => {
        const left = async (): Promise<number> => {
          assert.equal((await jobs.outcome(request("layer0-end"))).kind, "pull");
          return workers().length;
        };
        assert.equal(await left(), 1);
        assert.equal(await left(), 1);
        await until("it is tried anew", async () => (await left()) === 2);
      },
      { take },
    );
  });

  for (const [script, state] of [
    ["die", /its worker ended/],
    ["layer0-die", /its worker ended/],
    ["babble", /wrote what no worker writes/],
  ] as const) {
    it(`fails the layers that are not told of when its worker does "${script}"`, async () => {
      await benched(async (bench) => {
        const { jobs } = bench;
        await assert.rejects(jobs.outcome(request(script, 1)), {
          code: "internal",
          message: state,
        });
        await until("the job ends", () => jobs.running === 0);
        noneLeft(bench);
      });
    });
  }

  it("fails if the program ends at once", async () => {
    const worker = { argv: ["/bin/false"] as const, environment: {} };
    await benched(
      async ({ jobs }) => {
        for (const name of ["one", "two"]) {
          await assert.rejects(jobs.outcome(request(name)), { code: "internal" });
        }
      },
      { worker },
    );
  });

  it("fails if there is no such program", async () => {
    const worker = { argv: ["/nowhere/program"] as const, environment: {} };
    await benched(
      async ({ jobs }) => {
        const failed = { code: "internal", message: /could not be started/ };
        await assert.rejects(jobs.outcome(request("layers-end")), failed);
      },
      { worker },
    );
  });

  it("fails a job whose report can't be taken", async () => {
    const take = async (): Promise<LayerOutcome> => {
      throw new AppError("resource_exhausted", "no space left");
    };
    await benched(
      async ({ jobs }) => {
        await assert.rejects(jobs.outcome(request("layers-end")), { code: "resource_exhausted" });
      },
      { take },
    );
  });

  it("works on one image while another one hangs", async () => {
    await benched(async ({ jobs }) => {
      const hanging = assert.rejects(jobs.outcome(request("hang")), { code: "cancelled" });
      assert.equal(layerOf(await jobs.outcome(request("layers-end", 1))), 11);
      await until("one job ends", () => jobs.running === 1);
      await jobs[Symbol.asyncDispose]();
      await hanging;
    });
  });

  it("keeps room for the images of another registry while many of one hang", async () => {
    await benched(async ({ jobs, workers }) => {
      const hanging = Array.from({ length: 10 }, (_, at) => `hang-${at}`).map((script) =>
        assert.rejects(jobs.outcome(request(script, 0, "hung.example")), { code: "cancelled" }),
      );
      await until("eight have a worker", () => workers().length === 8);
      assert.equal(layerOf(await jobs.outcome(request("layers-end", 1))), 11);
      await until("the other's job ends", () => jobs.running === 10);
      assert.equal(workers().length, 9);
      await jobs[Symbol.asyncDispose]();
      await Promise.all(hanging);
    });
  });

  it("remembers what took long to fail for longer", async () => {
    await benched(
      async ({ jobs, workers, go }) => {
        const failing = assert.rejects(jobs.outcome(request("wait-fail")));
        await until("it has a worker", () => workers().length === 1);
        await delay(200);
        go();
        await failing;
        await delay(300);
        await assert.rejects(jobs.outcome(request("wait-fail")));
        assert.equal(workers().length, 1);
      },
      { failureMemoryMs: 10 },
    );
  });

  it("ends a worker that nobody waits for, remembers nothing of it, and lets the others wait", async () => {
    await benched(
      async (bench) => {
        const { jobs, workers } = bench;
        const abort = new AbortController();
        const stays = new AbortController();
        const [leaver, stayer] = [abort, stays].map(({ signal }) =>
          assert.rejects(jobs.outcome(request("hang"), { signal }), /had enough/),
        );
        await until("a worker has the job", () => workers().length === 1);
        abort.abort(new Error("had enough"));
        await leaver;
        await delay(150);
        assert.equal(jobs.running, 1);
        stays.abort(new Error("had enough"));
        await stayer;
        await until("the job ends", () => jobs.running === 0);
        noneLeft(bench);
        const again = new AbortController();
        const next = jobs.outcome(request("hang"), { signal: again.signal });
        const left = assert.rejects(next, /again/);
        await until("a second worker has the job", () => workers().length === 2);
        again.abort(new Error("again"));
        await left;
      },
      { abandonedMs: 50 },
    );
  });

  it("leaves no process and no promise behind when it is closed", async () => {
    let seen: Bench | undefined;
    const refused: Promise<void>[] = [];
    await benched(async (bench) => {
      seen = bench;
      for (const script of ["hang", "layers-end-hang", "layer0-wait"]) {
        const outcome = bench.jobs.outcome(request(script, 1));
        if (script === "layers-end-hang") await outcome;
        else refused.push(assert.rejects(outcome, { code: "cancelled" }));
      }
      await until("all have a worker", () => bench.workers().length === 3);
      await bench.jobs[Symbol.asyncDispose]();
      noneLeft(bench, 0);
      await assert.rejects(bench.jobs.outcome(request("layers-end")), { code: "cancelled" });
      const children = readFileSync(`/proc/self/task/${process.pid}/children`, "utf8");
      assert.equal(children.trim(), "", "the spare worker is gone too");
    });
    await Promise.all(refused);
    assert.equal(seen?.jobs.running, 0);
  });
});
