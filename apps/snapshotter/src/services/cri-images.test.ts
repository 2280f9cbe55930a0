import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import {
  Client,
  credentials,
  Metadata,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type ServiceError,
  type sendUnaryData,
  status,
} from "@grpc/grpc-js";
import { criImageService, openCri } from "@soci-ts/containerd-api";
import { DisposeStack } from "@soci-ts/core";
import { type BoundService, serveAtSocket } from "../socket.ts";
import { temporaryDirectory } from "../testing/temporary.ts";
import { openCriImageProxy } from "./cri-images.ts";
import type { PullCredential } from "./pull-credential.ts";

type Unary = ServerUnaryCall<Buffer, Buffer>;

const raw = (bytes: Buffer): Buffer => bytes;

/** What came to the image service behind the proxy. */
interface Seen {
  readonly events: unknown[];
  deadlineMs: number;
  header: unknown;
}

/** An image service that deals in bytes, at the package name given. */
function backend(name: string, seen: Seen): BoundService {
  const methods = ["PullImage", "ListImages", "RemoveImage", "StreamImages"];
  const definition = Object.fromEntries(
    methods.map((method) => [
      method,
      {
        path: `/${name}/${method}`,
        requestStream: false,
        responseStream: method === "StreamImages",
        requestSerialize: raw,
        requestDeserialize: raw,
        responseSerialize: raw,
        responseDeserialize: raw,
      },
    ]),
  ) as ServiceDefinition;
  return {
    definition,
    implementation: {
      PullImage(call: Unary, callback: sendUnaryData<Buffer>) {
        seen.events.push(["pull", call.request.toString("latin1")]);
        seen.deadlineMs = Number(call.getDeadline()) - Date.now();
        [seen.header] = call.metadata.get("traceparent");
        callback(null, Buffer.from("answer"));
      },
      ListImages(_call: Unary, callback: sendUnaryData<Buffer>) {
        const metadata = new Metadata();
        metadata.set("grpc-status-details-bin", Buffer.from([1, 2, 255]));
        callback({ code: status.UNKNOWN, details: "rpc error: ä", metadata });
      },
      RemoveImage(call: Unary) {
        seen.events.push("remove");
        call.once("cancelled", () => seen.events.push("cancelled"));
      },
      StreamImages(call: ServerWritableStream<Buffer, Buffer>) {
        for (let at = 0; at < 300; at += 1) call.write(Buffer.alloc(1000, at));
        call.emit("error", { code: status.UNAVAILABLE, details: "later" });
      },
    },
  };
}

interface Setup {
  readonly seen: Seen;
  readonly client: Client;
  readonly proxySocket: string;
}

async function setUp(stack: DisposeStack, name = "runtime.v1.ImageService"): Promise<Setup> {
  const folder = await temporaryDirectory(stack);
  const seen: Seen = { events: [], deadlineMs: 0, header: undefined };
  const criSocket = join(folder, "cri.sock");
  stack.use(await serveAtSocket({ kind: "path", path: criSocket }, [backend(name, seen)]));
  const proxy = stack.use(
    openCriImageProxy({
      criSocket,
      onCredential: (credential: PullCredential) => seen.events.push(credential),
    }),
  );
  const proxySocket = join(folder, "proxy.sock");
  stack.use(await serveAtSocket({ kind: "path", path: proxySocket }, proxy.services));
  const client = new Client(`unix:${proxySocket}`, credentials.createInsecure(), {
    "grpc.default_authority": "localhost",
  });
  stack.defer(() => client.close());
  return { seen, client, proxySocket };
}

function call(client: Client, path: string, request: Buffer, metadata = new Metadata()) {
  return new Promise<Buffer>((resolve, reject) => {
    const deadline = Date.now() + 30_000;
    client.makeUnaryRequest(path, raw, raw, request, metadata, { deadline }, (error, answer) =>
      error === null ? resolve(answer!) : reject(error),
    );
  });
}

/** A PullImage with a field 99 that our proto files don't know. */
function pullBytes(): Buffer {
  const known = criImageService().definition["PullImage"]!.requestSerialize({
    image: { image: "registry.example/app:1" },
    auth: { username: "kubelet", password: "secret" },
  });
  return Buffer.concat([known, Buffer.from([0x9a, 0x06, 0x01, 0x41])]);
}

for (const name of ["runtime.v1.ImageService", "runtime.v1alpha2.ImageService"]) {
  test(`a PullImage of ${name} is told before it goes on, and goes on unchanged`, async () => {
    await using stack = new DisposeStack();
    const { seen, client } = await setUp(stack, name);
    const metadata = new Metadata();
    metadata.set("traceparent", "00-1-2-01");
    const answer = await call(client, `/${name}/PullImage`, pullBytes(), metadata);
    assert.equal(answer.toString(), "answer");
    assert.deepEqual(seen.events, [
      {
        registry: "registry.example",
        repository: "app",
        credential: { kind: "basic", username: "kubelet", password: "secret" },
      },
      ["pull", pullBytes().toString("latin1")],
    ]);
    assert.equal(seen.header, "00-1-2-01");
    assert.ok(seen.deadlineMs > 0 && seen.deadlineMs <= 30_000, String(seen.deadlineMs));
  });
}

test("bytes that are no message go on, for containerd to judge", async () => {
  await using stack = new DisposeStack();
  const { seen, client } = await setUp(stack);
  await call(client, "/runtime.v1.ImageService/PullImage", Buffer.from([0xff, 0xff]));
  assert.deepEqual(seen.events, [["pull", "\xff\xff"]]);
});

test("a status comes back with its code, text and details", async () => {
  await using stack = new DisposeStack();
  const { client } = await setUp(stack);
  const failed = call(client, "/runtime.v1.ImageService/ListImages", Buffer.alloc(0));
  await assert.rejects(failed, (error: ServiceError) => {
    assert.equal(error.code, status.UNKNOWN);
    assert.equal(error.details, "rpc error: ä");
    assert.deepEqual(error.metadata.get("grpc-status-details-bin"), [Buffer.from([1, 2, 255])]);
    return true;
  });
});

test("what containerd doesn't have is UNIMPLEMENTED", async () => {
  await using stack = new DisposeStack();
  const { proxySocket } = await setUp(stack);
  const { images } = stack.use(openCri(proxySocket));
  await assert.rejects(images.imageFsInfo({}), { code: "unimplemented" });
});

test("a caller that goes away ends the call at containerd", async () => {
  await using stack = new DisposeStack();
  const { seen, proxySocket } = await setUp(stack);
  const { images } = stack.use(openCri(proxySocket));
  const controller = new AbortController();
  const removal = images.removeImage({}, { signal: controller.signal });
  while (!seen.events.includes("remove")) await new Promise((r) => setTimeout(r, 5));
  controller.abort();
  await assert.rejects(removal, { code: "cancelled" });
  while (!seen.events.includes("cancelled")) await new Promise((r) => setTimeout(r, 5));
});

test("a stream comes whole, then its status", async () => {
  await using stack = new DisposeStack();
  const { client } = await setUp(stack);
  const path = "/runtime.v1.ImageService/StreamImages";
  const stream = client.makeServerStreamRequest(path, raw, raw, Buffer.alloc(0));
  const firstBytes: (number | undefined)[] = [];
  const read = async (): Promise<void> => {
    for await (const message of stream) firstBytes.push((message as Buffer)[0]);
  };
  await assert.rejects(read(), { code: status.UNAVAILABLE, details: "later" });
  assert.deepEqual(
    firstBytes,
    Array.from({ length: 300 }, (_, at) => at % 256),
  );
});

test("where containerd is away, calls fail as UNAVAILABLE", async () => {
  await using stack = new DisposeStack();
  const path = join(await temporaryDirectory(stack), "p.sock");
  const proxy = stack.use(
    openCriImageProxy({ criSocket: "/nonexistent.sock", onCredential: () => {} }),
  );
  stack.use(await serveAtSocket({ kind: "path", path }, proxy.services));
  await assert.rejects(stack.use(openCri(path)).images.listImages({}), { code: "unavailable" });
});
