import assert from "node:assert/strict";
import type { ErrorCode } from "@soci-ts/core";
import { type Ground, LABELS } from "./ground.ts";

/** A behaviour, and what shows that it is there. */
export interface SnapshotCheck {
  readonly name: string;
  run(ground: Ground): Promise<void>;
}

/** Asserts that something fails with a code. */
export async function refused(work: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(work, (error: { code?: unknown; message?: unknown }) => {
    assert.equal(error.code, code, String(error.message));
    return true;
  });
}

/** c1 ← c2 ← a1, v1; and a2, v2 with no parent. */
async function six(ground: Ground): Promise<void> {
  const { service } = ground;
  await ground.prepare("c1-a");
  await service.commit("c1", "c1-a", LABELS);
  await ground.prepare("c2-a", "c1");
  await service.commit("c2", "c2-a", LABELS);
  await ground.prepare("a1", "c2");
  await ground.prepare("a2");
  await service.view("v1", "c2", LABELS);
  await service.view("v2", "", LABELS);
}

const SIX = [
  { name: "a1", kind: "active", parent: "c2" },
  { name: "a2", kind: "active", parent: "" },
  { name: "c1", kind: "committed", parent: "" },
  { name: "c2", kind: "committed", parent: "c1" },
  { name: "v1", kind: "view", parent: "c2" },
  { name: "v2", kind: "view", parent: "" },
] as const;

/** What is remembered of snapshots, under which names, and what is refused. */
export const recordChecks: readonly SnapshotCheck[] = [
  {
    name: "stat tells kind, parent and times of everything there is",
    async run(ground) {
      const before = Date.now();
      await six(ground);
      const after = Date.now();
      for (const expected of SIX) {
        const info = await ground.service.stat(expected.name);
        const { createdAt, updatedAt, labels, ...rest } = info;
        assert.deepEqual(rest, expected);
        assert.deepEqual(labels, LABELS);
        assert.deepEqual(createdAt, updatedAt);
        assert.ok(createdAt.getTime() >= before, "made before it was asked for");
        assert.ok(createdAt.getTime() <= after, "made after it was there");
      }
      await refused(ground.service.stat("c1-a"), "not_found");
    },
  },
  {
    name: "update sets labels, all or those of the mask, and nothing else",
    async run(ground) {
      await six(ground);
      for (const { name, kind, parent } of SIX) {
        const old = await ground.service.stat(name);
        const given = { l1: "v1", l2: "v2", l3: "v3", ...LABELS };
        const before = Date.now();
        const first = await ground.service.update({ name, labels: given }, { kind: "all" });
        const after = Date.now();
        assert.deepEqual(
          { ...first, updatedAt: 0 },
          { name, kind, parent, labels: given, createdAt: old.createdAt, updatedAt: 0 },
        );
        assert.ok(first.updatedAt.getTime() >= before);
        assert.ok(first.updatedAt.getTime() <= after);
        const labels = { l1: "updated", l4: "v4" };
        const masked = await ground.service.update(
          { name, labels },
          { kind: "labels", keys: ["l1", "l2"] },
        );
        assert.deepEqual(masked.labels, { l1: "updated", l3: "v3", ...LABELS });
        const whole = { l4: "v4", ...LABELS };
        await ground.service.update({ name, labels: whole }, { kind: "all" });
        assert.deepEqual((await ground.service.stat(name)).labels, whole);
      }
      await refused(
        ground.service.update({ name: "none", labels: {} }, { kind: "all" }),
        "not_found",
      );
    },
  },
  {
    name: "a name stands for one snapshot: prepare, view and commit refuse one that is taken",
    async run(ground) {
      await six(ground);
      const { service } = ground;
      for (const { name } of SIX) {
        await refused(service.prepare(name, "c1", LABELS), "already_exists");
        await refused(service.view(name, "c1", LABELS), "already_exists");
      }
      await ground.prepare("more", "c1");
      await refused(service.commit("c2", "more", LABELS), "already_exists");
      await refused(service.commit("a2", "more", LABELS), "already_exists");
      await service.commit("c3", "more", LABELS);
    },
  },
  {
    name: "what is not there, or of the wrong kind, is refused",
    async run(ground) {
      await six(ground);
      const { service } = ground;
      await refused(service.prepare("x", "none", LABELS), "not_found");
      await refused(service.view("x", "none", LABELS), "not_found");
      for (const parent of ["a1", "v1"]) {
        await refused(service.prepare("x", parent, LABELS), "invalid_argument");
        await refused(service.view("x", parent, LABELS), "invalid_argument");
      }
      for (const key of ["v1", "c1"]) {
        await refused(service.commit("x", key, LABELS), "failed_precondition");
      }
      await refused(service.mounts("c1"), "failed_precondition");
      await refused(service.commit("x", "none", LABELS), "not_found");
      await refused(service.mounts("none"), "not_found");
      await refused(service.remove("none"), "not_found");
      await refused(service.usage("none"), "not_found");
      await refused(service.stat("x"), "not_found");
    },
  },
  {
    name: "remove gives a name free for another snapshot, and takes no parent away from its children",
    async run(ground) {
      const { service } = ground;
      await ground.prepare("a");
      await service.commit("base", "a", LABELS);
      await ground.prepare("again", "base");
      await refused(service.remove("base"), "failed_precondition");
      await service.remove("again");
      await service.view("again", "base", LABELS);
      await refused(service.remove("base"), "failed_precondition");
      await service.remove("again");
      await ground.prepare("again");
      await service.remove("base");
      await service.commit("base", "again", LABELS);
      assert.deepEqual(await ground.names(), ["base"]);
    },
  },
  {
    name: "remove takes a chain away from the top only",
    async run(ground) {
      const { service } = ground;
      const base = await ground.layer("", () => {});
      const middle = await ground.layer(base, () => {});
      await ground.prepare("top", middle);
      await refused(service.remove(middle), "failed_precondition");
      await refused(service.remove(base), "failed_precondition");
      for (const name of ["top", middle, base]) await service.remove(name);
      await service.cleanup();
      assert.deepEqual(await ground.names(), []);
    },
  },
  {
    name: "parents are told through all generations",
    async run(ground) {
      const a = await ground.layer("", () => {});
      const b = await ground.layer(a, () => {});
      const parentOf = async (name: string): Promise<string> =>
        (await ground.service.stat(name)).parent;
      assert.equal(await parentOf(b), a);
      assert.equal(await parentOf(await parentOf(b)), "");
    },
  },
  {
    name: "list walks through all, or what filters match",
    async run(ground) {
      const { service } = ground;
      const labelled = (l: string) => ({ ...LABELS, l });
      await ground.prepare("a-np");
      await ground.prepare("p-tmp");
      await service.commit("p", "p-tmp", LABELS);
      await ground.prepare("a", "p");
      await service.view("v", "p", LABELS);
      await ground.prepare("p-wl-tmp");
      await service.commit("p-wl", "p-wl-tmp", labelled("1"));
      await ground.prepare("a-wl", "p-wl", labelled("2"));
      await service.view("v-wl", "p-wl", labelled("3"));
      await ground.prepare("a-np-wl", "", labelled("2"));
      const root = 'labels."containerd.io/gc.root"==suite';
      const everything = ["a", "a-np", "a-np-wl", "a-wl", "p", "p-wl", "v", "v-wl"];
      const rows: readonly (readonly [filters: readonly string[], names: readonly string[]])[] = [
        [[], everything],
        [[root], everything],
        [[`kind==active,${root}`], ["a", "a-np", "a-np-wl", "a-wl"]],
        [[`kind==view,${root}`], ["v", "v-wl"]],
        [[`kind==committed,${root}`], ["p", "p-wl"]],
        [
          ["name==p", "name==a-np-wl"],
          ["a-np-wl", "p"],
        ],
        [["name==a-wl,labels.l"], ["a-wl"]],
        [["parent==p"], ["a", "v"]],
        [[`parent!="",${root}`], ["a", "a-wl", "v", "v-wl"]],
        [["labels.l"], ["a-np-wl", "a-wl", "p-wl", "v-wl"]],
        [["labels.l==2"], ["a-np-wl", "a-wl"]],
        [["name~=/^a-.*l$/"], ["a-np-wl", "a-wl"]],
      ];
      for (const [filters, names] of rows) {
        assert.deepEqual(await ground.names(...filters), names, filters.join(" or "));
      }
      await refused(ground.names("name="), "invalid_argument");
    },
  },
  {
    name: "stat and remove work while list is being read, and tell the same",
    async run(ground) {
      await six(ground);
      const seen: string[] = [];
      for await (const info of ground.service.list([])) {
        assert.deepEqual(await ground.service.stat(info.name), info);
        seen.push(info.name);
      }
      assert.deepEqual(seen.sort(), SIX.map(({ name }) => name).sort());
      for await (const { kind, name } of ground.service.list([])) {
        if (kind !== "committed") await ground.service.remove(name);
      }
      assert.deepEqual(await ground.names(), ["c1", "c2"]);
    },
  },
  {
    name: "names may hold anything: namespaces in front, spaces, letters beyond ASCII",
    async run(ground) {
      const names = ["k8s.io/12/sha256:0a", "/srv/a b", "größe", "x".repeat(1000)];
      for (const name of names) {
        await ground.prepare(name);
        assert.equal((await ground.service.stat(name)).name, name);
        await ground.service.remove(name);
      }
    },
  },
  {
    name: "closing twice is no fault",
    async run(ground) {
      await ground.prepare("a");
      await ground.service.commit("c", "a", LABELS);
      await ground.service.remove("c");
      await ground.service[Symbol.asyncDispose]();
      await ground.service[Symbol.asyncDispose]();
    },
  },
];
