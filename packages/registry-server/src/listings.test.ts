import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { sha256 } from "@soci-ts/core";
import { MEDIA_TYPE_OCI_INDEX, MEDIA_TYPE_OCI_MANIFEST } from "@soci-ts/oci";
import { openRegistryServer, type RegistryServer } from "./registry-server.ts";
import {
  type Answer,
  ask,
  codes,
  freshFolder,
  manifestOf,
  putManifest,
} from "./testing/harness.ts";

let folder: Awaited<ReturnType<typeof freshFolder>>;
let server: RegistryServer;

before(async () => {
  folder = await freshFolder();
  server = await openRegistryServer(folder.path, { referrersPerPage: 3 });
});
after(async () => {
  await server.close();
  await folder[Symbol.asyncDispose]();
});

const json = (answer: Answer): unknown => JSON.parse(answer.bytes.toString());
const nextOf = (answer: Answer): string | undefined =>
  /^<([^>]+)>; rel="next"$/.exec(answer.headers["Link"] ?? "")?.[1];

describe("/v2/<name>/tags/list", () => {
  const tags = ["1.0", "1.10", "1.9", "Latest", "_x", "latest"];
  const list = async (query = ""): Promise<string[]> => {
    const answer = await ask(server, "GET", `/v2/t/tags/list${query}`);
    assert.equal(answer.status, 200);
    return (json(answer) as { tags: string[] }).tags;
  };

  before(async () => {
    for (const tag of [...tags].reverse()) await putManifest(server, "t", manifestOf([]), tag);
  });

  it("lists all in the order of their bytes", async () => assert.deepEqual(await list(), tags));

  it("pages with n and last, and links to the next page", async () => {
    const seen: string[] = [];
    let url: string | undefined = "/v2/t/tags/list?n=2";
    while (url !== undefined) {
      const answer: Answer = await ask(server, "GET", url);
      const page = (json(answer) as { tags: string[] }).tags;
      assert.equal(page.length, 2);
      seen.push(...page);
      url = nextOf(answer);
    }
    assert.deepEqual(seen, tags);
  });

  it("needs neither a tag that exists in last nor n", async () => {
    assert.deepEqual(await list("?last=1.5"), tags.slice(2));
    assert.deepEqual(await list("?last=zzz"), []);
    assert.deepEqual(await list("?n=999999999"), tags);
  });

  it("gives nothing and no link for n=0", async () => {
    const answer = await ask(server, "GET", "/v2/t/tags/list?n=0");
    assert.deepEqual(json(answer), { name: "t", tags: [] });
    assert.equal(answer.headers["Link"], undefined);
  });

  it("refuses an n that is no number, an unknown repository, and other methods", async () => {
    for (const n of ["-1", "x", "1.5", "", "1e3"]) {
      assert.equal((await ask(server, "GET", `/v2/t/tags/list?n=${n}`)).status, 400, n);
    }
    const unknown = await ask(server, "GET", "/v2/unknown/tags/list");
    assert.equal(unknown.status, 404);
    assert.deepEqual(codes(unknown), ["NAME_UNKNOWN"]);
    assert.equal((await ask(server, "POST", "/v2/t/tags/list")).status, 405);
  });
});

describe("/v2/<name>/referrers/<digest>", () => {
  interface Index {
    readonly manifests: {
      digest: string;
      artifactType?: string;
      annotations?: object;
      size: number;
    }[];
  }
  const subject = sha256(Buffer.from("never pushed"));
  const url = `/v2/ref/referrers/${subject}`;
  const pointing = { subject: { mediaType: MEDIA_TYPE_OCI_MANIFEST, digest: subject, size: 12 } };
  const artifact = (number: number): Buffer =>
    manifestOf([], {
      ...pointing,
      artifactType: number % 2 === 0 ? "application/even+json" : "application/odd",
      annotations: { number: String(number) },
    });

  const follow = async (from: string): Promise<Index["manifests"]> => {
    const all: Index["manifests"] = [];
    let next: string | undefined = from;
    while (next !== undefined) {
      const answer: Answer = await ask(server, "GET", next);
      assert.equal(answer.status, 200);
      assert.equal(answer.headers["Content-Type"], MEDIA_TYPE_OCI_INDEX);
      const { manifests } = json(answer) as Index;
      assert.ok(manifests.length <= 3);
      all.push(...manifests);
      next = nextOf(answer);
    }
    return all;
  };

  it("is an empty index, never a 404, where nothing is known", async () => {
    for (const where of [url, `/v2/no/such/referrers/${subject}`]) {
      const answer = await ask(server, "GET", where);
      assert.equal(answer.status, 200);
      assert.equal(answer.headers["Content-Type"], MEDIA_TYPE_OCI_INDEX);
      assert.deepEqual(json(answer), {
        schemaVersion: 2,
        mediaType: MEDIA_TYPE_OCI_INDEX,
        manifests: [],
      });
    }
  });

  it("tells the pusher that it handled the subject, which may be missing", async () => {
    const body = artifact(0);
    await putManifest(server, "ref", body);
    const answer = await ask(server, "PUT", `/v2/ref/manifests/${sha256(body)}`, {
      body,
      headers: { "content-type": MEDIA_TYPE_OCI_MANIFEST },
    });
    assert.equal(answer.status, 201);
    assert.equal(answer.headers["OCI-Subject"], subject);
  });

  it("lists descriptors with type and annotations, once each, over pages", async () => {
    for (let number = 1; number < 8; number++) await putManifest(server, "ref", artifact(number));
    const all = await follow(url);
    assert.deepEqual(
      all,
      Array.from({ length: 8 }, (_, number) => ({
        mediaType: MEDIA_TYPE_OCI_MANIFEST,
        digest: sha256(artifact(number)),
        size: artifact(number).length,
        artifactType: number % 2 === 0 ? "application/even+json" : "application/odd",
        annotations: { number: String(number) },
      })),
    );
  });

  it("filters by artifact type, encoded or not, also over pages, and says so", async () => {
    for (const type of ["application/even%2Bjson", "application/even+json"]) {
      const answer = await ask(server, "GET", `${url}?artifactType=${type}`);
      assert.equal(answer.headers["OCI-Filters-Applied"], "artifactType");
      const all = await follow(`${url}?artifactType=${type}`);
      assert.deepEqual(
        all.map((descriptor) => descriptor.digest),
        [0, 2, 4, 6].map((number) => sha256(artifact(number))),
      );
    }
    const none = await ask(server, "GET", `${url}?artifactType=a/b`);
    assert.deepEqual((json(none) as Index).manifests, []);
    assert.equal(none.headers["OCI-Filters-Applied"], "artifactType");
    assert.equal((await ask(server, "GET", url)).headers["OCI-Filters-Applied"], undefined);
  });

  it("ends a page before it gets too large for clients", async () => {
    const big = sha256(Buffer.from("big"));
    const heavy = (number: number): Buffer =>
      manifestOf([], {
        subject: { mediaType: MEDIA_TYPE_OCI_MANIFEST, digest: big, size: 3 },
        annotations: { number: String(number), text: "x".repeat(2_000_000) },
      });
    await putManifest(server, "ref", heavy(1));
    await putManifest(server, "ref", heavy(2));
    const first = await ask(server, "GET", `/v2/ref/referrers/${big}`);
    assert.equal((json(first) as Index).manifests.length, 1);
    assert.equal((await follow(`/v2/ref/referrers/${big}`)).length, 2);
  });

  it("forgets a referrer with its manifest", async () => {
    await ask(server, "DELETE", `/v2/ref/manifests/${sha256(artifact(3))}`);
    const all = await follow(url);
    assert.equal(all.length, 7);
  });

  it("omits the type of an index that has none", async () => {
    const other = sha256(Buffer.from("other"));
    const body = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MEDIA_TYPE_OCI_INDEX,
        manifests: [],
        subject: { mediaType: MEDIA_TYPE_OCI_MANIFEST, digest: other, size: 5 },
      }),
    );
    await ask(server, "PUT", "/v2/ref/manifests/an-index", {
      body,
      headers: { "content-type": MEDIA_TYPE_OCI_INDEX },
    });
    const [descriptor] = await follow(`/v2/ref/referrers/${other}`);
    assert.deepEqual(descriptor, {
      mediaType: MEDIA_TYPE_OCI_INDEX,
      digest: sha256(body),
      size: body.length,
    });
  });

  it("refuses a subject that is no digest, and a cursor that is none", async () => {
    assert.deepEqual(codes(await ask(server, "GET", "/v2/ref/referrers/v1")), ["DIGEST_INVALID"]);
    assert.equal((await ask(server, "GET", `${url}?last=x`)).status, 400);
  });
});
