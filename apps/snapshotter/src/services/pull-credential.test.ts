import assert from "node:assert/strict";
import { test } from "node:test";
import { criImageService } from "@soci-ts/containerd-api";
import { pullCredential } from "./pull-credential.ts";

const IMAGE = "registry.example:5000/team/app:v1";
const base64 = (text: string): string => Buffer.from(text).toString("base64");
const basic = (username: string, password: string) =>
  ({ kind: "basic", username, password }) as const;

function pull(auth: object | undefined, image = IMAGE): Buffer {
  const method = criImageService().definition["PullImage"]!;
  return method.requestSerialize({ image: { image }, ...(auth === undefined ? {} : { auth }) });
}

const understood: readonly (readonly [string, object, object])[] = [
  ["user and password", { username: "u", password: "p" }, basic("u", "p")],
  ["auth", { auth: base64("u:p:w") }, basic("u", "p:w")],
  ["auth that is padded", { auth: base64("u:p\0\0") }, basic("u", "p")],
  ["an identity token", { identityToken: "t" }, { kind: "identity", refreshToken: "t" }],
  ["a registry token", { registryToken: "t" }, { kind: "bearer", token: "t" }],
  ["user before auth", { username: "u", password: "p", auth: base64("a:b") }, basic("u", "p")],
  [
    "the registry's address",
    { username: "u", password: "p", serverAddress: "https://registry.example:5000/v2/" },
    basic("u", "p"),
  ],
  [
    "the registry's host",
    { username: "u", password: "p", serverAddress: "registry.example:5000" },
    basic("u", "p"),
  ],
];
for (const [name, auth, credential] of understood) {
  test(`pullCredential() understands ${name}`, () => {
    assert.deepEqual(pullCredential(pull(auth)), {
      registry: "registry.example:5000",
      repository: "team/app",
      credential,
    });
  });
}

test("pullCredential() takes Docker Hub's old address for docker.io", () => {
  const auth = { username: "u", password: "p", serverAddress: "https://index.docker.io/v1/" };
  assert.deepEqual(pullCredential(pull(auth, "redis")), {
    registry: "docker.io",
    repository: "library/redis",
    credential: basic("u", "p"),
  });
});

const absent: readonly (readonly [string, Buffer])[] = [
  ["no auth", pull(undefined)],
  ["an empty auth", pull({})],
  ["another registry's", pull({ username: "u", serverAddress: "other.example" })],
  ["an address that is none", pull({ username: "u", serverAddress: "http://[" })],
  ["auth without a colon", pull({ auth: base64("nothing") })],
  ["an image that is no reference", pull({ username: "u" }, "A B")],
  ["no message", Buffer.from([0xff, 0xff, 0xff])],
  ["no bytes", Buffer.alloc(0)],
];
for (const [name, request] of absent) {
  test(`pullCredential() of ${name} is undefined`, () => {
    assert.equal(pullCredential(request), undefined);
  });
}

test("pullCredential() takes a message that is cut anywhere", () => {
  const whole = pull({ username: "u", password: "p", auth: base64("u:p") });
  for (let length = 0; length < whole.length; length += 1) {
    assert.doesNotThrow(() => pullCredential(whole.subarray(0, length)));
  }
});
