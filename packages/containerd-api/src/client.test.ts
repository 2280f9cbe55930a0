import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import type { ServerDuplexStream } from "@grpc/grpc-js";
import { AppError, DisposeStack, delay } from "@soci-ts/core";
import type { snapshotsApi } from "./index.ts";
import { type Containerd, openContainerd } from "./open-containerd.ts";
import { type CallContext, type Handlers, implementService } from "./server.ts";
import { contentService, snapshotsService } from "./services.ts";
import { serve } from "./testing/serve.ts";

type SnapshotsHandlers = Handlers<snapshotsApi.Snapshots>;

const info = (name: string): { name: string; labels: Record<string, string> } => ({
  name,
  labels: { padding: "x".repeat(1000) },
});

async function withServer(
  handlers: Partial<SnapshotsHandlers>,
  use: (client: Containerd, failures: string[]) => Promise<void>,
): Promise<void> {
  await using stack = new DisposeStack();
  const failures: string[] = [];
  const implementation = implementService(
    snapshotsService(),
    handlers as SnapshotsHandlers,
    (method, error) => failures.push(`${method} ${error.code}`),
  );
  const { socketPath } = stack.use(await serve(snapshotsService().definition, implementation));
  await use(stack.use(openContainerd(socketPath, { namespace: "k8s.io" })), failures);
}

test("a call carries its message there and back, and the namespace", async () => {
  let seen: readonly unknown[] = [];
  const stat = async (request: unknown, { namespace }: CallContext) => {
    seen = [request, namespace];
    return { info: { ...info("n"), kind: "ACTIVE", createdAt: { seconds: 5, nanos: 7 } } } as const;
  };
  await withServer({ stat }, async ({ snapshots }) => {
    const answer = await snapshots.stat({ snapshotter: "s", key: "k/1/ü" });
    assert.deepEqual(seen, [{ snapshotter: "s", key: "k/1/ü" }, "k8s.io"]);
    assert.equal(answer.info?.kind, "ACTIVE");
    assert.deepEqual(answer.info.createdAt, { seconds: 5, nanos: 7 });
    assert.equal(answer.info.updatedAt, null);
    assert.equal(answer.info.parent, "");
  });
});

test("an error goes through with code and message, and the server's owner hears of it", async () => {
  const stat = async () => {
    throw new AppError("not_found", "snapshot “k” does not exist: not found");
  };
  await withServer({ stat }, async ({ snapshots }, failures) => {
    await assert.rejects(snapshots.stat({ key: "k" }), {
      name: "AppError",
      code: "not_found",
      message: "snapshot “k” does not exist: not found",
    });
    assert.deepEqual(failures, ["/containerd.services.snapshots.v1.Snapshots/Stat not_found"]);
  });
});

test("a handler that throws at once is an error of the call, not of the process", async () => {
  const stat = (): never => {
    throw new AppError("aborted", "at once");
  };
  await withServer({ stat }, async ({ snapshots }) => {
    await assert.rejects(snapshots.stat({ key: "k" }), { code: "aborted" });
  });
});

test("aborting a call ends it on both sides", async () => {
  const controller = new AbortController();
  let aborted: Promise<unknown> | undefined;
  const usage = async (_request: unknown, { signal }: CallContext) => {
    aborted = once(signal, "abort");
    controller.abort();
    await aborted;
    return {};
  };
  await withServer({ usage }, async ({ snapshots }) => {
    const call = snapshots.usage({ key: "k" }, { signal: controller.signal });
    await assert.rejects(call, { code: "cancelled" });
    await aborted;
    await assert.rejects(snapshots.usage({ key: "k" }, { signal: controller.signal }), {
      code: "cancelled",
    });
  });
});

test("a call that takes too long is given up on both sides", async () => {
  let aborted: Promise<unknown> | undefined;
  const usage = async (_request: unknown, { signal }: CallContext) => {
    aborted = once(signal, "abort");
    await aborted;
    return {};
  };
  await withServer({ usage }, async ({ snapshots }) => {
    await assert.rejects(snapshots.usage({ key: "k" }, { timeoutMs: 50 }), {
      code: "deadline_exceeded",
    });
    await aborted;
  });
});

test("a stream is produced no faster than it is read, and ends early when reading does", async () => {
  let produced = 0;
  let ended = false;
  async function* list() {
    try {
      for (; produced < 20_000; produced += 1) yield { info: [info(String(produced))] };
    } finally {
      ended = true;
    }
  }
  await withServer({ list }, async ({ snapshots }) => {
    for await (const { info: infos } of snapshots.list({})) {
      assert.equal(infos[0]?.name, "0");
      await delay(200);
      break;
    }
    assert.ok(produced < 10_000, `${produced} messages of 1 KiB were made for a reader of one`);
    while (!ended) await delay(10);
  });
});

test("a stream gives all its messages before its error", async () => {
  async function* list() {
    yield { info: [info("a")] };
    yield { info: [info("b")] };
    throw new AppError("data_loss", "no more");
  }
  await withServer({ list }, async ({ snapshots }) => {
    const names: string[] = [];
    const read = async (): Promise<void> => {
      for await (const { info: infos } of snapshots.list({})) {
        names.push(...infos.map(({ name }) => name));
      }
    };
    await assert.rejects(read(), { code: "data_loss", message: "no more" });
    assert.deepEqual(names, ["a", "b"]);
  });
});

test("where nobody listens, calls fail as unavailable", async () => {
  await using containerd = openContainerd("/nonexistent/s.sock", { namespace: "default" });
  await assert.rejects(containerd.version.version({}, { timeoutMs: 5000 }), {
    code: "unavailable",
  });
});

test("a client that is closed refuses calls", async () => {
  const usage = async () => ({ size: 1 });
  await withServer({ usage }, async (client) => {
    await client.snapshots.usage({ key: "k" });
    await client[Symbol.asyncDispose]();
    await client[Symbol.asyncDispose]();
    await assert.rejects(client.snapshots.usage({ key: "k" }), {
      code: "failed_precondition",
    });
  });
});

test("openContainerd() refuses what can't be a socket's path", () => {
  for (const path of ["relative.sock", `/${"x".repeat(107)}`, "/a\0b"]) {
    assert.throws(() => openContainerd(path, { namespace: "default" }), {
      code: "invalid_argument",
    });
  }
});

test("a conversation sends and receives, and ends with the error of its own source", async () => {
  await using stack = new DisposeStack();
  type Call = ServerDuplexStream<{ data: Buffer; action: string }, object>;
  const write = (call: Call): void => {
    call.on("data", ({ data, action }) => call.write({ action, offset: data.length }));
    call.on("end", () => call.end());
  };
  const { definition } = contentService();
  const { socketPath } = stack.use(await serve({ Write: definition["Write"]! }, { Write: write }));
  const { content } = stack.use(openContainerd(socketPath, { namespace: "default" }));
  async function* requests(failure?: Error) {
    yield { action: "WRITE", data: Buffer.from("four") } as const;
    if (failure !== undefined) throw failure;
    yield { action: "COMMIT" } as const;
  }
  const answers: unknown[] = [];
  for await (const { action, offset } of content.write(requests())) answers.push([action, offset]);
  assert.deepEqual(answers, [
    ["WRITE", 4],
    ["COMMIT", 0],
  ]);
  const read = async (): Promise<void> => {
    for await (const _ of content.write(requests(new AppError("data_loss", "source"))));
  };
  await assert.rejects(read(), { code: "data_loss", message: "source" });
});
