import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { sha256 } from "@soci-ts/core";
import { chainCredentials } from "./chain-credentials.ts";
import type { RegistryClient } from "./client.ts";
import { commandCredentials } from "./credential-command.ts";
import type { Credential } from "./credentials.ts";
import { RememberedCredentials } from "./remembered-credentials.ts";
import { FAST_RETRY, patternBytes, repositoryOn, testClient } from "./testing/clients.ts";
import { startFakeRegistry } from "./testing/fake-registry.ts";
import { hostAt, hostsOf } from "./testing/hosts.ts";
import { answer, type SeenRequest, startServer } from "./testing/http-server.ts";
import { recordingLogger } from "./testing/recorder.ts";

const PASSWORD = "hunter2-password";
const REFRESH = "hunter2-refresh";
const TOKEN = "hunter2-token";
const SIGNATURE = "hunter2-signature";
const PROXY_PASSWORD = "hunter2-proxy";
const PACKED = Buffer.from(`me:${PASSWORD}`).toString("base64");
const SECRETS = new RegExp(["hunter2", PACKED].join("|"));

const BLOB = patternBytes(1000);
const DESCRIPTOR = { mediaType: "x/y", digest: sha256(BLOB), size: BLOB.length };

/** A server that gives everything it knows back: headers, query, body. */
function echo(request: SeenRequest): string {
  const told = `${request.path} ${JSON.stringify(request.headers)} ${request.body.toString("latin1")}`;
  return JSON.stringify({
    errors: [
      { code: told, message: told },
      { code: "X", message: `Bearer ${TOKEN}` },
    ],
  });
}

const CALLS: readonly ((
  client: RegistryClient,
  name: { registry: string; repository: string },
) => Promise<unknown>)[] = [
  (client, name) => client.ping(name.registry),
  (client, name) => client.fetchManifest({ ...name, tag: "v1" }),
  (client, name) => client.openBlob(name, DESCRIPTOR).readAt(0, 10),
  (client, name) => client.pushBlob(name, DESCRIPTOR, BLOB),
  (client, name) => client.listReferrers(name, DESCRIPTOR.digest),
  (client, name) => client.listTags(name),
  (client, name) => client.pushManifest({ ...name, tag: "v1" }, "x/y", Buffer.from("{}")),
];

const CREDENTIALS: readonly Credential[] = [
  { kind: "basic", username: "me", password: PASSWORD },
  { kind: "identity", refreshToken: REFRESH },
  { kind: "bearer", token: TOKEN },
];

/** All that a caller could print of an error, its causes included. */
function everything(error: unknown): string {
  return `${inspect(error, { depth: 20, showHidden: true, getters: true })} ${JSON.stringify(error)}`;
}

const STAGES = [
  "token refused",
  "token broken",
  "request refused",
  "redirect refused",
  "upload refused",
  "cut",
] as const;

for (const credential of CREDENTIALS) {
  for (const stage of STAGES) {
    test(`no secret of a ${credential.kind} login is told when: ${stage}`, async () => {
      await using auth = await startServer((request, response) => {
        if (stage === "token refused") answer(response, 403, {}, echo(request));
        else if (stage === "token broken") answer(response, 200, {}, `{"token":"${TOKEN}" oops`);
        else answer(response, 200, {}, JSON.stringify({ token: TOKEN }));
      });
      await using registry = await startFakeRegistry();
      registry.intercept = (request, response) => {
        const { host } = registry;
        if (request.path.includes("/signed")) answer(response, 400, {}, echo(request));
        else if (request.headers.authorization === undefined) {
          answer(response, 401, { "www-authenticate": `Bearer realm="${auth.url}/t",service="s"` });
        } else if (stage === "redirect refused" && request.method === "GET") {
          answer(response, 307, { location: `http://${host}/signed?sig=${SIGNATURE}` });
        } else if (stage === "upload refused" && request.method === "POST") {
          answer(response, 202, { location: `/signed?state=${SIGNATURE}` });
        } else if (stage === "upload refused" && request.method === "HEAD") answer(response, 404);
        else if (stage === "cut") {
          response.writeHead(200, { "content-length": 100_000, "x-secret": TOKEN });
          response.write(TOKEN, () => response.destroy());
        } else answer(response, 400, {}, echo(request));
        return true;
      };
      const logger = recordingLogger();
      await using client = testClient({
        credentials: { find: async () => credential },
        logger,
        retry: { ...FAST_RETRY, attempts: 2 },
      });
      let failures = 0;
      for (const call of CALLS) {
        try {
          await call(client, repositoryOn(registry));
        } catch (error) {
          failures += 1;
          assert.doesNotMatch(everything(error), SECRETS);
        }
      }
      assert.ok(failures > 0);
      assert.ok(logger.lines.length > 0);
      assert.doesNotMatch(logger.lines.join("\n"), SECRETS);
    });
  }
}

test("no secret is told of URLs that cannot be used", async () => {
  await using registry = await startFakeRegistry();
  const urls = [
    `http://u:${PASSWORD}@x.example/`,
    `ftp://x.example/?sig=${SIGNATURE}`,
    `http://[bad?sig=${SIGNATURE}`,
  ];
  const logger = recordingLogger();
  for (const url of urls) {
    registry.intercept = (request, response) => {
      if (request.method === "POST") answer(response, 202, { location: url });
      else if (request.path.includes("tags"))
        answer(response, 200, { link: `<${url}>; rel=next` }, '{"tags":[]}');
      else if (request.method === "HEAD") answer(response, 404);
      else if (request.path === "/v2/")
        answer(response, 401, { "www-authenticate": `Bearer realm="${url}"` });
      else answer(response, 302, { location: url });
      return true;
    };
    await using client = testClient({ logger });
    for (const call of CALLS) {
      await call(client, repositoryOn(registry)).catch((error: unknown) => {
        assert.doesNotMatch(everything(error), SECRETS);
      });
    }
  }
  assert.doesNotMatch(logger.lines.join("\n"), SECRETS);
});

test("no secret of a proxy is told when it cannot be reached or refuses", async () => {
  await using proxy = await startServer((request, response) =>
    answer(response, 407, {}, echo(request)),
  );
  for (const host of [proxy.host, "127.0.0.1:1"]) {
    const url = `http://me:${PROXY_PASSWORD}@${host}`;
    for (const plainHttp of [true, false]) {
      const logger = recordingLogger();
      await using client = testClient({
        logger,
        plainHttp,
        proxy: { httpProxy: url, httpsProxy: url },
        retry: { attempts: 1 },
      });
      await assert.rejects(client.ping("registry.test"), (error) => {
        assert.doesNotMatch(everything(error), SECRETS);
        return true;
      });
      assert.doesNotMatch(logger.lines.join("\n"), SECRETS);
    }
  }
});

test("no secret of a mirror's headers, of a credential command or of kubelet is told", async () => {
  await using mirror = await startFakeRegistry();
  await using server = await startFakeRegistry();
  for (const host of [mirror, server]) {
    host.intercept = (request, response) => {
      answer(response, 401, { "www-authenticate": 'Basic realm="x"' }, echo(request));
      return true;
    };
  }
  const remembered = new RememberedCredentials();
  const script = `echo hunter2-output; echo hunter2-output >&2; exit 1`;
  const command = commandCredentials({ argv: ["/bin/sh", "-c", script] });
  const printed = commandCredentials({
    argv: ["/bin/sh", "-c", `echo '{"Username":"me","Secret":"${PASSWORD}"}'`],
  });
  const logger = recordingLogger();
  await using client = testClient({
    logger,
    hosts: hostsOf(
      hostAt(mirror.url, {
        headers: { "x-token": `hunter2-header`, authorization: `Basic ${PACKED}` },
      }),
      hostAt(server.url),
    ),
    credentials: chainCredentials(
      [
        { name: "kubelet", source: remembered },
        { name: "broken", source: command },
        { name: "command", source: printed },
      ],
      logger,
    ),
    retry: { ...FAST_RETRY, attempts: 1 },
  });
  const name = { registry: "registry.test", repository: "team/app" };
  remembered.put(name.registry, name.repository, {
    kind: "basic",
    username: "me",
    password: "hunter2-kubelet",
  });
  for (const [host, source] of [mirror, server].entries()) {
    remembered.put(source.host, undefined, {
      kind: "basic",
      username: "me",
      password: `hunter2-host-${host}`,
    });
  }
  let failures = 0;
  for (const call of CALLS) {
    try {
      await call(client, name);
    } catch (error) {
      failures += 1;
      assert.doesNotMatch(everything(error), SECRETS);
    }
  }
  assert.equal(failures, CALLS.length);
  assert.ok(logger.lines.some((line) => line.includes("credential source fails")));
  assert.doesNotMatch(logger.lines.join("\n"), SECRETS);
  assert.doesNotMatch(everything(remembered), SECRETS);
});
