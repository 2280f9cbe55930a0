import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { judgeKernel, type ProbeInputs, probeKernel } from "./probe.ts";

const HEALTHY: ProbeInputs = {
  release: "7.1.0",
  readText: (path) =>
    ({
      "/proc/filesystems": "nodev\tproc\nnodev\tfuse\nnodev\toverlay\n\terofs\n",
      "/proc/self/status": "Name:\tnode\nCapEff:\t000001ffffffffff\n",
      "/proc/config.gz": "CONFIG_EROFS_FS=y\nCONFIG_EROFS_FS_BACKED_BY_FILE=y\n",
    })[path],
  exists: (path) => path === "/dev/loop-control",
  readLink: () => "mnt:[4026531841]",
  fuseDeviceErrno: undefined,
  ffi: true,
};

const FINDINGS = [
  "ffi",
  "fuseDevice",
  "fuse",
  "overlay",
  "erofs",
  "erofsFileBacked",
  "erofsOnLoop",
  "erofsIdMapped",
  "fuseIdMapped",
  "sysAdmin",
  "mountNamespace",
] as const;

describe("judgeKernel()", () => {
  it("finds nothing to fix on a healthy machine", () => {
    const probe = judgeKernel(HEALTHY);
    for (const name of FINDINGS) {
      assert.equal(probe[name].state, "ok", name);
      assert.equal(probe[name].fix, undefined);
    }
  });

  it("gives a fix for everything that is not there", () => {
    const probe = judgeKernel({
      ...HEALTHY,
      release: "5.4.0",
      readText: () => undefined,
      readLink: (path) => path,
      exists: () => false,
      fuseDeviceErrno: "ENOENT",
      ffi: false,
    });
    for (const name of FINDINGS) {
      assert.notEqual(probe[name].state, "ok", name);
      assert.ok(probe[name].fix !== undefined && probe[name].fix.length > 10, name);
    }
    assert.equal(probe.erofsFileBacked.support, "no");
    assert.match(probe.fuseDevice.fix ?? "", /modprobe fuse/);
  });

  it("tells a module that is not loaded from a kernel without it", () => {
    const readText = (path: string): string | undefined =>
      path === "/proc/config.gz" ? "CONFIG_EROFS_FS=m\n" : "";
    const fix = judgeKernel({ ...HEALTHY, readText }).erofs.fix ?? "";
    assert.match(fix, /modprobe erofs/);
    assert.match(fix, /modules-load/);
  });

  it("believes a kernel configuration that says no to file-backed mounts", () => {
    const readText = (path: string): string | undefined =>
      path === "/proc/config.gz"
        ? "# CONFIG_EROFS_FS_BACKED_BY_FILE is not set\n"
        : HEALTHY.readText(path);
    assert.equal(judgeKernel({ ...HEALTHY, readText }).erofsFileBacked.support, "no");
  });

  it("calls a kernel without the short-read fix unsafe", () => {
    const probe = judgeKernel({ ...HEALTHY, release: "6.12.10" });
    assert.equal(probe.erofsFileBacked.support, "unsafe");
    assert.equal(probe.erofsFileBacked.state, "degraded");
  });
});

describe("probeKernel()", () => {
  it("looks at this machine without a throw", () => {
    const probe = probeKernel();
    assert.ok(probe.release.length > 0);
  });
});
