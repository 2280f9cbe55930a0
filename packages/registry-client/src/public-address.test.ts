import assert from "node:assert/strict";
import type { LookupFunction } from "node:net";
import { describe, it } from "node:test";
import { isPublicAddress, publicLookup, refusePrivateAddress } from "./public-address.ts";

describe("isPublicAddress()", () => {
  const rows: readonly [address: string, isPublic: boolean][] = [
    ["93.184.216.34", true],
    ["2606:2800:220:1:248:1893:25c8:1946", true],
    ["127.0.0.1", false],
    ["10.1.2.3", false],
    ["172.16.0.1", false],
    ["172.32.0.1", true],
    ["192.168.1.1", false],
    ["169.254.169.254", false],
    ["100.64.0.1", false],
    ["0.0.0.0", false],
    ["255.255.255.255", false],
    ["224.0.0.1", false],
    ["::1", false],
    ["::", false],
    ["::ffff:127.0.0.1", false],
    ["::ffff:8.8.8.8", false],
    ["64:ff9b::7f00:1", false],
    ["2002:7f00:1::", false],
    ["fd00::1", false],
    ["fe80::1", false],
    ["registry.example", false],
  ];
  for (const [address, isPublic] of rows) {
    it(`says ${isPublic} of ${address}`, () => assert.equal(isPublicAddress(address), isPublic));
  }
});

describe("refusePrivateAddress()", () => {
  it("refuses addresses in every spelling that a URL has, and lets names pass", () => {
    for (const host of ["127.0.0.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:7f00:1]"]) {
      const refused = { code: "permission_denied" };
      assert.throws(() => refusePrivateAddress(new URL(`http://${host}:5000/`)), refused);
    }
    refusePrivateAddress(new URL("https://registry.example/"));
    refusePrivateAddress(new URL("https://8.8.8.8/"));
  });
});

describe("publicLookup()", () => {
  const look = (addresses: readonly string[]): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const resolver: LookupFunction = (_name, _options, callback) =>
        callback(
          null,
          addresses.map((address) => ({ address, family: 4 })),
        );
      publicLookup(resolver)("name.example", { all: true }, (error, found) =>
        error === null ? resolve(found) : reject(error),
      );
    });

  it("passes on what is public, and refuses a name of which one address is not", async () => {
    assert.deepEqual(await look(["8.8.8.8"]), [{ address: "8.8.8.8", family: 4 }]);
    await assert.rejects(look(["8.8.8.8", "127.0.0.1"]), { code: "permission_denied" });
  });
});
