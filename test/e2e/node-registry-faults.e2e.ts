// A registry that misbehaves under a node's reads: right bytes, or EIO with a reason that `explain` gives and a trace in the metrics.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { DisposeStack } from "@soci-ts/core";
import { type Fault, type FaultProxy, seededBytes, startFaultProxy } from "@soci-ts/testkit";
import { EIO, FaultNode, type LayerFiles, type MountedFaultImage } from "./fault-node.ts";

const skip = process.getuid?.() !== 0 && "the daemon needs root";

/** What happens to the nth request for a layer's blob. */
type Trouble = (ordinal: number) => Fault | undefined;

const first =
  (count: number, fault: Fault): Trouble =>
  (ordinal) =>
    ordinal < count ? fault : undefined;
const always =
  (fault: Fault): (() => Fault) =>
  () =>
    fault;

/** Troubles that a read has to get over, by the file whose layer has them. */
const PASSING: Readonly<Record<string, Trouble>> = {
  "unavailable-thrice": first(3, { kind: "status", status: 503 }),
  "asked-to-wait": first(1, { kind: "status", status: 429, headers: { "retry-after": "1" } }),
  "cut-thrice": first(3, { kind: "cut", afterBytes: 1000 }),
  "flipped-once": first(1, { kind: "flip", atByte: 5000 }),
  "range-ignored": always({ kind: "ignore-range" }),
};

/** Troubles that stay, and what `explain` must say of them. */
const LASTING: Readonly<Record<string, { readonly trouble: Trouble; readonly reason: RegExp }>> = {
  failing: { trouble: always({ kind: "status", status: 500 }), reason: /the answer is 500/ },
  gone: { trouble: always({ kind: "status", status: 404 }), reason: /the answer is 404/ },
  forbidden: { trouble: always({ kind: "status", status: 403 }), reason: /the answer is 403/ },
  cut: { trouble: always({ kind: "cut", afterBytes: 100 }), reason: /closed|ends/ },
  flipped: { trouble: always({ kind: "flip", atByte: 3000 }), reason: /digest/ },
};

let seed = 100;
function nextSeed(): number {
  seed += 1;
  return seed;
}

const files = (...names: readonly string[]): readonly LayerFiles[] =>
  names.map((name) => ({ [name]: seededBytes(300_000, nextSeed()) }));

function every<T>(names: readonly string[], value: T): Readonly<Record<string, T>> {
  return Object.fromEntries(names.map((name) => [name, value]));
}

/** Puts troubles in force, each counting the requests for its own layer. */
function trouble(
  proxy: FaultProxy,
  mounted: MountedFaultImage,
  troubles: Readonly<Record<string, Trouble>>,
): void {
  const counts = new Map<string, number>();
  const rules = new Map(
    Object.entries(troubles).map(([file, rule]) => [mounted.digestOf(file), rule]),
  );
  proxy.rule = ({ path }) => {
    const digest = /\/blobs\/(sha256:[0-9a-f]{64})/.exec(path)?.[1] ?? "";
    const ordinal = counts.get(digest) ?? 0;
    counts.set(digest, ordinal + 1);
    return rules.get(digest)?.(ordinal);
  };
}

interface Explained {
  readonly advice: readonly string[];
  readonly layers: readonly {
    readonly layerDigest: string;
    readonly failures: readonly { readonly message: string }[];
  }[];
}

describe("a node whose registry misbehaves", { skip, concurrency: true, timeout: 150_000 }, () => {
  let node: FaultNode;
  const stack = new DisposeStack();

  before(async () => {
    node = stack.use(await FaultNode.open("auto", ""));
  });

  after(() => stack[Symbol.asyncDispose]());

  /** An image that is mounted from a registry of this name, in front of whose only host stands a proxy. */
  async function mountBehind(
    name: string,
    ...names: readonly string[]
  ): Promise<{ readonly proxy: FaultProxy; readonly mounted: MountedFaultImage }> {
    const proxy = stack.use(await startFaultProxy(node.registry.host));
    await node.nameHosts(name, proxy.host);
    return { proxy, mounted: await node.mount(await node.put(files(...names)), `${name}/app`) };
  }

  async function explained(mounted: MountedFaultImage): Promise<Explained> {
    return JSON.parse(await node.daemon.run("explain", mounted.reference, "--json")) as Explained;
  }

  it("gets over troubles that pass, and counts what it did again", async () => {
    const names = Object.keys(PASSING);
    const { proxy, mounted } = await mountBehind("passing.test", ...names);
    const retries = await node.metric("soci_registry_retries_total");
    trouble(proxy, mounted, PASSING);
    assert.deepEqual(await mounted.compare(...names), every(names, "equal"));
    assert.ok((await node.metric("soci_registry_retries_total")) >= retries + 4);
    assert.ok((await node.metric("soci_registry_requests_total")) > 0);
    assert.ok((await node.metric("soci_registry_received_bytes_total")) > 0);
    assert.ok((await node.metric("soci_layer_digest_mismatches_total")) > 0);
  });

  it("gives EIO while troubles last, says why, disturbs no other layer, and recovers", async () => {
    const names = Object.keys(LASTING);
    const { proxy, mounted } = await mountBehind("lasting.test", ...names, "healthy");
    const lasting = Object.fromEntries(
      names.map((it) => [it, LASTING[it]?.trouble ?? first(0, { kind: "hang" })]),
    );
    trouble(proxy, mounted, lasting);
    const expected = { ...every(names, EIO), healthy: "equal" };
    assert.deepEqual(await mounted.compare(...names, "healthy"), expected);
    assert.ok((await node.metric("soci_layer_read_errors_total")) >= names.length);
    const { layers, advice } = await explained(mounted);
    for (const name of names) {
      const layer = layers.find(({ layerDigest }) => layerDigest === mounted.digestOf(name));
      const message = layer?.failures[0]?.message ?? "nothing";
      assert.match(message, LASTING[name]?.reason ?? /never/, name);
      assert.ok(message.includes(mounted.digestOf(name)), `${name}: which layer: ${message}`);
      assert.match(message, /lasting\.test|127\.0\.0\.1:\d+/, `${name}: which host`);
    }
    assert.match(advice.join("\n"), /doctor lasting\.test.*fails.*push.*refuses/s);
    const status = await node.daemon.run("status");
    assert.match(status, new RegExp(`the answer is 404[^]*${mounted.digestOf("gone")}`));
    proxy.rule = undefined;
    assert.deepEqual(await mounted.compareUntilRead(...names), every(names, "equal"));
  });

  it("asks the registry again when a signed address has expired", async () => {
    const { proxy, mounted } = await mountBehind("signed.test", "one", "two");
    let signed = 0;
    let refused = 0;
    const used = new Set<string>();
    proxy.rule = ({ path }) => {
      const [plain = "", query = ""] = path.split("?");
      if (!plain.includes("/blobs/")) return undefined;
      const signature = /X-Amz-Signature=(\d+)/.exec(query)?.[1];
      if (signature === undefined) {
        signed += 1;
        const location = `http://${proxy.host}${plain}?X-Amz-Signature=${signed}`;
        return { kind: "status", status: 307, headers: { location } };
      }
      if (!used.has(signature)) {
        used.add(signature);
        return undefined;
      }
      refused += 1;
      const body = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
      return { kind: "status", status: 403, headers: { "content-type": "application/xml" }, body };
    };
    assert.deepEqual(await mounted.compare("one", "two"), every(["one", "two"], "equal"));
    assert.ok(refused > 0 && signed > refused, `${signed} signed, ${refused} refused`);
  });

  it("logs in again when a token expires between two requests, and with the new password when that has changed", async () => {
    const proxy = stack.use(await startFaultProxy(node.registry.host));
    const basic = (password: string): string =>
      `Basic ${Buffer.from(`robot:${password}`).toString("base64")}`;
    const tell = (password: string): Promise<void> => {
      const auth = basic(password).slice("Basic ".length);
      const document = JSON.stringify({ auths: { [proxy.host]: { auth } } });
      return writeFile(join(node.directory, "docker.json"), document);
    };
    let password = "old";
    let issued = 0;
    let refused = 0;
    const challenge = `Bearer realm="http://${proxy.host}/token",service="s"`;
    proxy.rule = ({ path, authorization }) => {
      if (path.startsWith("/token")) {
        if (authorization !== basic(password)) return { kind: "status", status: 401 };
        issued += 1;
        const headers = { "content-type": "application/json" };
        return { kind: "status", status: 200, headers, body: `{"token":"t${issued}"}` };
      }
      if (authorization === `Bearer t${issued}`) return undefined;
      if (authorization !== undefined) refused += 1;
      return { kind: "status", status: 401, headers: { "www-authenticate": challenge } };
    };
    await tell(password);
    const image = await node.put(files("first", "expired", "between", "behind"));
    const mounted = await node.mount(image, `${proxy.host}/app`);
    assert.deepEqual(await mounted.compare("first"), { first: "equal" });
    issued += 1; // the one that is in use is none any more
    assert.deepEqual(await mounted.compare("expired"), { expired: "equal" });
    assert.ok(refused > 0);

    password = "new";
    issued += 1;
    assert.deepEqual(await mounted.compare("between"), { between: EIO });
    const { layers } = await explained(mounted);
    const failure = layers.flatMap(({ failures }) => failures)[0]?.message ?? "nothing";
    assert.match(failure, /401/);
    await tell(password);
    const rest = ["between", "behind"];
    assert.deepEqual(await mounted.compareUntilRead(...rest), every(rest, "equal"));
  });

  it("reads from the next host when a mirror is down or hangs, and from the mirror when that one is", async () => {
    const mirror = stack.use(await startFaultProxy(node.registry.host));
    const server = stack.use(await startFaultProxy(node.registry.host));
    await node.nameHosts("mirrored.test", mirror.host, server.host);
    const image = await node.put(files("hung", "refused", "back"));
    const mounted = await node.mount(image, "mirrored.test/app");
    const failures = await node.metric("soci_registry_host_failures_total");
    mirror.rule = always({ kind: "hang" });
    assert.deepEqual(await mounted.compare("hung"), { hung: "equal" });
    const asked = mirror.requests.length;
    mirror.rule = always({ kind: "status", status: 503 });
    assert.deepEqual(await mounted.compare("refused"), { refused: "equal" });
    assert.ok(mirror.requests.length <= asked + 1, "a mirror that hung is left alone for a while");
    assert.ok((await node.metric("soci_registry_host_failures_total")) > failures);
    mirror.rule = undefined;
    server.rule = always({ kind: "status", status: 503 });
    assert.deepEqual(await mounted.compare("back"), { back: "equal" });
  });

  it("reads a layer from another image's registry when the one that it came with last hangs", async () => {
    const working = stack.use(await startFaultProxy(node.registry.host));
    const hanging = stack.use(await startFaultProxy(node.registry.host));
    await node.nameHosts("working.test", working.host);
    await node.nameHosts("hanging.test", hanging.host);
    const [shared = {}, own = {}] = files("shared", "own");
    await node.mount(await node.put([shared]), "working.test/app");
    const mounted = await node.mount(await node.put([own, shared]), "hanging.test/app");
    hanging.rule = always({ kind: "hang" });
    const asked = [hanging.requests.length, working.requests.length] as const;
    assert.deepEqual(await mounted.compare("shared"), { shared: "equal" });
    assert.ok(hanging.requests.length > asked[0], "the newest source is asked first");
    assert.ok(working.requests.length > asked[1]);
  });
});
