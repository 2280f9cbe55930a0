import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { mount, unmount } from "./mount.ts";
import { findMount, findMountOf } from "./mount-table.ts";
import { bindMount, moveMount, setPropagation } from "./mount-tree.ts";
import { probeKernel } from "./probe.ts";

const skip = probeKernel().sysAdmin.state === "ok" ? false : "needs CAP_SYS_ADMIN";

describe("bind, propagation, move", { skip }, () => {
  let directory = "";
  let base = "";
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "soci-tree-"));
    base = join(directory, "base");
    await mkdir(base);
    await mount({ source: "soci-test", target: base, type: "tmpfs" });
    await setPropagation(base, "private");
    for (const name of ["a", "b", "c"]) await mkdir(join(base, name));
  });
  after(async () => {
    await unmount(base, { detach: true });
    await rm(directory, { recursive: true });
  });

  it("binds with the flags that were asked for", async () => {
    const [source, target] = [join(base, "a"), join(base, "b")];
    await bindMount(source, target, ["ro", "nosuid"]);
    try {
      assert.match(findMount(target)?.mountOptions ?? "", /\bro\b.*\bnosuid\b/);
      await assert.rejects(writeFile(join(target, "x"), ""), { code: "EROFS" });
      await writeFile(join(source, "x"), "");
      assert.equal(findMountOf(join(target, "x"))?.mountPoint, target);
      assert.equal(findMountOf(join(source, "x"))?.mountPoint, base);
    } finally {
      await unmount(target);
    }
  });

  it("moves a mount below a private one", async () => {
    const [from, to] = [join(base, "b"), join(base, "c")];
    await mount({ source: "soci-test", target: from, type: "tmpfs" });
    await moveMount(from, to);
    assert.equal(findMount(from), undefined);
    assert.equal(findMount(to)?.type, "tmpfs");
    await unmount(to);
  });

  it("sets the propagation of mount points only", async () => {
    await setPropagation(base, "slave");
    await assert.rejects(setPropagation(join(base, "a"), "private"), {
      code: "failed_precondition",
    });
  });
});
