import assert from "node:assert/strict";
import { after, before } from "node:test";
import { AppError, digestOf, sha256 } from "@soci-ts/core";
import { MEDIA_TYPE_OCI_INDEX, MEDIA_TYPE_OCI_MANIFEST } from "@soci-ts/oci";
import { type HostileReader, testHostileReaders } from "@soci-ts/testkit";
import { parseContentRange, parseRange } from "./range.ts";
import { openRegistryServer, type RegistryServer } from "./registry-server.ts";
import { parseRoute } from "./route.ts";
import { SpecError } from "./spec-error.ts";
import {
  type Answer,
  ask,
  filesIn,
  freshFolder,
  manifestOf,
  pieces,
  putBlob,
  putManifest,
} from "./testing/harness.ts";

const BLOB = Buffer.from("the bytes of a blob");
const IMAGE = manifestOf([]);
const SUBJECT = { mediaType: MEDIA_TYPE_OCI_MANIFEST, digest: sha256(IMAGE), size: IMAGE.length };
const ARTIFACT = manifestOf([], {
  subject: SUBJECT,
  artifactType: "a/b+c",
  annotations: { "k\r\nX: y": "\u2028<>" },
});
const INDEX = Buffer.from(
  JSON.stringify({ schemaVersion: 2, manifests: [SUBJECT], annotations: { a: "b" } }),
);
/** Stands for the id of an upload that is open when the request is sent. */
const UPLOAD_ID = "01234567-89ab-cdef-0123-456789abcdef";
const UPLOAD = `/v2/a/b/blobs/uploads/${UPLOAD_ID}`;

/** A request as text: request line, headers, an empty line, the body. */
const request = (line: string, headers: readonly string[] = [], body = ""): Buffer =>
  Buffer.from([line, ...headers, "", body].join("\n"), "latin1");
const put = (reference: string, type: string, body: Buffer): Buffer =>
  request(`PUT /v2/a/b/manifests/${reference}`, [`content-type: ${type}`], body.toString("latin1"));

const REQUESTS: readonly Buffer[] = [
  request("GET /v2/"),
  request(`GET /v2/a/b/blobs/${sha256(BLOB)}`, ["range: bytes=2-9", `if-range: "${sha256(BLOB)}"`]),
  request(`HEAD /v2/a/b/blobs/${sha256(BLOB)}`, ['if-none-match: W/"x", "y"']),
  request("GET /v2/a/b/manifests/v1", [`if-none-match: "${sha256(IMAGE)}"`]),
  request("GET /v2/a/b/tags/list?n=2&last=v1"),
  request(`GET /v2/a/b/referrers/${sha256(IMAGE)}?artifactType=a%2Fb%2Bc&last=0`),
  request(`POST /v2/c/blobs/uploads/?mount=${sha256(BLOB)}&from=a/b`),
  request(`POST /v2/a/b/blobs/uploads/?digest=${sha256(BLOB)}`, [], BLOB.toString()),
  request("POST /v2/a/b/blobs/uploads/?digest-algorithm=sha512"),
  request(`PATCH ${UPLOAD}`, ["content-range: 0-18", "content-length: 19"], BLOB.toString()),
  request(`PUT ${UPLOAD}?digest=${digestOf(BLOB, "sha512")}`),
  put("v1", MEDIA_TYPE_OCI_MANIFEST, IMAGE),
  put(`${sha256(ARTIFACT)}?tag=v2&tag=v3`, MEDIA_TYPE_OCI_MANIFEST, ARTIFACT),
  put("v4", MEDIA_TYPE_OCI_INDEX, INDEX),
  request("DELETE /v2/a/b/manifests/v2", ["if-match: *"]),
];

const TOKENS = [
  "/../",
  "%2f",
  "%2e%2e",
  "%00",
  "%0d%0aX-Injected: 1",
  "\r\n",
  "//",
  "blobs/uploads",
  "?digest=",
  "&tag=",
  "&n=-1",
  "n=99999999999999999999",
  "bytes=0-,0-,0-",
  "18446744073709551615",
  "sha256:",
  "sha512:",
  '"mediaType":"',
  "DELETE ",
  "\ncontent-length: 5",
  "\nif-match: *",
  '"__proto__":',
  "\u00ff",
];

let folder: Awaited<ReturnType<typeof freshFolder>>;
let server: RegistryServer;
/** The path of the last upload that was begun. */
let openUpload = UPLOAD;

before(async () => {
  folder = await freshFolder();
  server = await openRegistryServer(folder.path);
  await putBlob(server, "a/b", BLOB);
  await putManifest(server, "a/b", IMAGE, "v1");
});
after(async () => {
  // Whatever was asked, there is nothing but blobs by their digests and uploads by their ids.
  for (const path of await filesIn(folder.path)) {
    assert.match(path, /^(?:blobs\/sha(?:256|512)\/[0-9a-f]+|uploads\/[0-9a-f-]+)$/);
  }
  await server.close();
  await folder[Symbol.asyncDispose]();
});

/** Asks, checks what must hold of every answer, and throws refusals as the readers of formats do. */
async function answered(bytes: Uint8Array): Promise<void> {
  const [head = "", body = ""] = split(Buffer.from(bytes).toString("latin1"), "\n\n");
  const [line = "", ...fields] = head.split("\n");
  const [method = "", target = ""] = split(line, " ");
  const headers = Object.fromEntries(
    fields.map((field) => split(field.toLowerCase(), ": ")).filter(([name]) => name !== ""),
  );
  const answer = await ask(server, method, await withUpload(target), {
    headers,
    body: pieces(Buffer.from(body, "latin1")),
  });
  assert.ok(answer.status >= 200 && answer.status < 500, `the status is ${answer.status}`);
  for (const [name, value] of Object.entries(answer.headers)) {
    assert.match(value, /^[\x20-\x7e]*$/, `${name} is ${JSON.stringify(value)}`);
  }
  if (answer.status >= 400) throw refusal(answer, method);
}

async function withUpload(target: string): Promise<string> {
  if (!target.includes(UPLOAD_ID)) return target;
  const isOpen = (await ask(server, "GET", openUpload)).status === 204;
  if (!isOpen) {
    openUpload = (await ask(server, "POST", "/v2/a/b/blobs/uploads/")).headers["Location"] ?? "";
  }
  return target.replace(UPLOAD_ID, openUpload.split("/").at(-1) ?? "");
}

function refusal(answer: Answer, method: string): AppError {
  if (method === "HEAD") return new AppError("data_loss", String(answer.status));
  const { errors } = JSON.parse(answer.bytes.toString()) as { errors: Record<string, string>[] };
  assert.ok(errors.length > 0);
  for (const { code, message } of errors) {
    assert.match(code ?? "", /^[A-Z_]+$/);
    assert.ok((message ?? "").length < 5_000, "the message is long");
  }
  return new AppError("data_loss", String(answer.status));
}

function split(text: string, by: string): [string, string] {
  const at = text.indexOf(by);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + by.length)];
}

function parts(bytes: Uint8Array): [string, string] {
  return split(Buffer.from(bytes).toString("latin1"), "\n");
}

const readers: HostileReader[] = [
  {
    name: "registry-route",
    seeds: REQUESTS.map((bytes) => Buffer.from(parts(bytes)[0].split(/[ ?]/)[1] ?? "")),
    tokens: TOKENS,
    codes: ["invalid_argument"],
    read: (bytes) => {
      const route = parseRoute(Buffer.from(bytes).toString("latin1"));
      if (route.kind === "base") return;
      assert.match(route.repository, /^[a-z0-9][a-z0-9._/-]*$/);
      assert.ok(!route.repository.includes("..") && route.repository.length <= 255);
      if (route.kind !== "manifest" || route.reference.kind !== "tag") return;
      assert.match(route.reference.tag, /^\w[\w.-]{0,127}$/);
    },
  },
  {
    name: "registry-range",
    seeds: ["bytes=2-9\n0-9", "bytes=5-\nbytes 10-19/20", "bytes=-5\n10-10"].map((text) =>
      Buffer.from(text),
    ),
    tokens: TOKENS,
    read: (bytes) => {
      const [range, contentRange] = parts(bytes);
      const sizeBytes = bytes.length % 40;
      const part = parseRange(range, sizeBytes);
      const chunk = parseContentRange(contentRange);
      if (part === "unsatisfiable" || chunk === "invalid") throw new SpecError("SIZE_INVALID", "");
      if (part !== undefined) assert.ok(0 <= part.start && part.start < part.end);
      if (part !== undefined) assert.ok(part.end <= sizeBytes);
      if (chunk === undefined) return;
      assert.ok(Number.isSafeInteger(chunk.start) && Number.isSafeInteger(chunk.end));
      assert.ok(0 <= chunk.start && chunk.start < chunk.end);
    },
    codes: ["invalid_argument"],
  },
  {
    name: "registry-request",
    seeds: REQUESTS,
    tokens: TOKENS,
    read: answered,
  },
];
testHostileReaders(new URL("../testdata/", import.meta.url), readers);
