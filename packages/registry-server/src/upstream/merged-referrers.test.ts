import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Digest, digestHex, sha256 } from "@soci-ts/core";
import { MEDIA_TYPE_OCI_INDEX, MEDIA_TYPE_OCI_MANIFEST } from "@soci-ts/oci";
import type { RegistryHandler } from "../access/guard.ts";
import { startCompanion } from "../testing/companions.ts";
import { ask, manifestOf, putManifest } from "../testing/harness.ts";
import {
  startUpstream,
  type UpstreamBehaviour,
  type UpstreamServer,
} from "../testing/upstream-server.ts";

const REPOSITORY = "team/app";
const LOCAL = `up.test/${REPOSITORY}`;
const SUBJECT = sha256(Buffer.from("an image"));
const PATH = `/v2/${REPOSITORY}/referrers/${SUBJECT}`;

function referrer(name: string, artifactType = "application/x.one"): Buffer {
  const subject = { mediaType: MEDIA_TYPE_OCI_MANIFEST, digest: SUBJECT, size: 8 };
  return manifestOf([], { subject, artifactType, annotations: { name } });
}

interface Entry {
  readonly digest: Digest;
  readonly artifactType: string;
}

function entryOf(bytes: Buffer): object {
  const { artifactType } = JSON.parse(bytes.toString()) as { artifactType: string };
  const { length: size } = bytes;
  return { mediaType: MEDIA_TYPE_OCI_MANIFEST, digest: sha256(bytes), size, artifactType };
}

/** An upstream whose repository can be read, as who asks has to be let in by it to see what is kept here. */
async function startReadable(behaviour: Partial<UpstreamBehaviour> = {}): Promise<UpstreamServer> {
  const upstream = await startUpstream(behaviour);
  await putManifest(upstream.registry, REPOSITORY, manifestOf([]), "v1");
  return upstream;
}

async function putTag(registry: RegistryHandler, entries: readonly object[]): Promise<void> {
  const document = { schemaVersion: 2, mediaType: MEDIA_TYPE_OCI_INDEX, manifests: entries };
  const url = `/v2/${REPOSITORY}/manifests/sha256-${digestHex(SUBJECT)}`;
  const headers = { "content-type": MEDIA_TYPE_OCI_INDEX };
  const body = Buffer.from(JSON.stringify(document));
  assert.equal((await ask(registry, "PUT", url, { body, headers })).status, 201);
}

/** All entries, page by page. */
async function list(companion: RegistryHandler, first = PATH) {
  const entries: Entry[] = [];
  const pages: number[] = [];
  for (let url: string | undefined = first; url !== undefined; ) {
    const answer = await ask(companion, "GET", url);
    assert.equal(answer.status, 200, answer.bytes.toString());
    assert.equal(answer.headers["Content-Type"], MEDIA_TYPE_OCI_INDEX);
    const page = (JSON.parse(answer.bytes.toString()) as { manifests: Entry[] }).manifests;
    entries.push(...page);
    pages.push(page.length);
    url = /^<([^>]+)>; rel="next"$/.exec(answer.headers["Link"] ?? "")?.[1];
  }
  return { digests: entries.map(({ digest }) => digest), pages, entries };
}

describe("referrers through the companion", () => {
  it("are those of the upstream's API, of its tag and of our catalogue, each once", async () => {
    await using upstream = await startReadable();
    await using test = await startCompanion([upstream]);
    const [api, tagged, ours, both] = ["api", "tag", "ours", "both"].map((name) => referrer(name));
    for (const bytes of [api!, both!]) await putManifest(upstream.registry, REPOSITORY, bytes);
    const other = await putManifest(upstream.registry, REPOSITORY, manifestOf([]));
    await putTag(upstream.registry, [
      { ...entryOf(manifestOf([])), digest: other, artifactType: "application/x.tagged" },
      entryOf(api!),
    ]);
    for (const bytes of [ours!, both!]) await putManifest(test.registry, LOCAL, bytes);
    assert.ok(tagged);
    const { digests } = await list(test.companion);
    assert.deepEqual(digests, [sha256(api!), other, sha256(ours!), sha256(both!)]);
    const head = await ask(test.companion, "HEAD", PATH);
    assert.equal(head.status, 200);
    assert.equal(head.bytes.length, 0);
  });

  it("are filtered by type, also what the upstream does not filter", async () => {
    await using upstream = await startReadable();
    await using test = await startCompanion([upstream]);
    const types = ["application/x.one+json", "application/x.two"];
    for (const type of types) {
      await putManifest(upstream.registry, REPOSITORY, referrer("theirs", type));
      await putManifest(test.registry, LOCAL, referrer("ours", type));
    }
    const one = encodeURIComponent(types[0]!);
    const answer = await ask(test.companion, "GET", `${PATH}?artifactType=${one}`);
    assert.equal(answer.headers["OCI-Filters-Applied"], "artifactType");
    for (const filter of [one, types[0]!]) {
      const { entries } = await list(test.companion, `${PATH}?artifactType=${filter}`);
      assert.deepEqual(
        entries.map(({ artifactType }) => artifactType),
        [types[0], types[0]],
      );
    }
  });

  it("come in pages that neither lose nor repeat one, with ns kept in their links", async () => {
    await using upstream = await startReadable({ subjects: "not listed" });
    await using test = await startCompanion([upstream]);
    // Larger together than a page may be: 1 MiB each.
    const big = (name: string) => ({ annotations: { name, filling: "x".repeat(1024 * 1024) } });
    const placed = await putManifest(upstream.registry, REPOSITORY, manifestOf([]));
    const theirs = Array.from({ length: 5 }, (_, at) => ({
      ...entryOf(referrer(`theirs ${at}`)),
      ...(at === 0 && { digest: placed }),
    }));
    upstream.intercept = (request, response) => {
      if (request.url?.includes("/manifests/sha256-") !== true) return false;
      const manifests = theirs.slice(0, 3).map((entry, at) => ({ ...entry, ...big(String(at)) }));
      const document = { schemaVersion: 2, mediaType: MEDIA_TYPE_OCI_INDEX, manifests };
      response
        .writeHead(200, { "content-type": MEDIA_TYPE_OCI_INDEX })
        .end(JSON.stringify(document));
      return true;
    };
    const ours: string[] = [];
    for (const at of [0, 1, 2]) {
      const subject = { mediaType: MEDIA_TYPE_OCI_MANIFEST, digest: SUBJECT, size: 8 };
      const bytes = manifestOf([], { subject, ...big(`ours ${at}`) });
      ours.push(await putManifest(test.registry, LOCAL, bytes));
    }
    const { digests, pages } = await list(test.companion, `${PATH}?ns=up.test`);
    const expected = theirs.slice(0, 3).map((entry) => (entry as unknown as Entry).digest);
    assert.deepEqual(digests, [...expected, ...ours]);
    assert.ok(pages.length >= 3, String(pages));
    for (const last of ["x", "u", "-1", "u1x"]) {
      assert.equal((await ask(test.companion, "GET", `${PATH}?last=${last}`)).status, 400);
    }
  });

  it("are none, and no 404, where nobody knows any", async () => {
    await using upstream = await startReadable({ subjects: "not listed" });
    await using test = await startCompanion([upstream]);
    assert.deepEqual((await list(test.companion)).digests, []);
  });

  it("are what was listed last, with a warning, when the upstream is down", async () => {
    await using upstream = await startReadable();
    await using test = await startCompanion([upstream]);
    const theirs = await putManifest(upstream.registry, REPOSITORY, referrer("theirs"));
    const ours = await putManifest(test.registry, LOCAL, referrer("ours"));
    await list(test.companion);
    await upstream.stop();
    const down = await ask(test.companion, "GET", PATH);
    assert.match(down.headers["Warning"] ?? "", /may be old/);
    assert.deepEqual((await list(test.companion)).digests, [theirs, ours]);
  });

  it("are not told to whom the upstream refuses, and the client learns how to log in", async () => {
    await using upstream = await startReadable({ login: "Basic right" });
    await using test = await startCompanion([upstream]);
    const ours = await putManifest(test.registry, LOCAL, referrer("ours"));
    const refused = await ask(test.companion, "GET", PATH);
    assert.equal(refused.status, 401);
    assert.equal(refused.headers["Www-Authenticate"], 'Basic realm="upstream"');
    const headers = { authorization: "Basic right" };
    const allowed = await ask(test.companion, "GET", PATH, { headers });
    assert.ok(allowed.bytes.includes(ours));
    await upstream.stop();
    assert.equal((await ask(test.companion, "GET", PATH)).status, 503);
    assert.equal((await ask(test.companion, "GET", PATH, { headers })).status, 200);
  });

  it("pass over what an upstream calls a list and is none", async () => {
    await using upstream = await startReadable();
    await using test = await startCompanion([upstream]);
    const ours = await putManifest(test.registry, LOCAL, referrer("ours"));
    upstream.intercept = (_request, response) => {
      response.writeHead(200, { "content-type": MEDIA_TYPE_OCI_INDEX }).end('{"manifests":3');
      return true;
    };
    const answer = await ask(test.companion, "GET", PATH);
    assert.match(answer.headers["Warning"] ?? "", /are missing/);
    assert.ok(answer.bytes.includes(ours));
  });
});
