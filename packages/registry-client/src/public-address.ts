import { BlockList, isIP, isIPv6, type LookupFunction } from "node:net";
import { AppError } from "@soci-ts/core";

/** What is not the public internet (IANA's special-purpose registries, multicast, and ways to write IPv4 in IPv6). */
const SPECIAL: readonly string[] = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/3",
  "::/96",
  "::ffff:0:0/96",
  "64:ff9b::/96",
  "64:ff9b:1::/48",
  "100::/64",
  "2001::/23",
  "2001:db8::/32",
  "2002::/16",
  "fc00::/7",
  "fe80::/10",
  "fec0::/10",
  "ff00::/8",
];

// A list of its own for each: in one, the block of IPv4-mapped addresses would match all of IPv4.
const blocked = { ipv4: new BlockList(), ipv6: new BlockList() } as const;
for (const block of SPECIAL) {
  const [network = "", bits] = block.split("/");
  const family = isIPv6(network) ? "ipv6" : "ipv4";
  blocked[family].addSubnet(network, Number(bits), family);
}

/** True for an address of the public internet; false also for a text that is no address. */
export function isPublicAddress(address: string): boolean {
  if (isIP(address) === 0) return false;
  const family = isIPv6(address) ? "ipv6" : "ipv4";
  return !blocked[family].check(address, family);
}

/**
 * Refuses a URL whose host is written as an address that is not public. Names are judged when they are looked up
 * ({@link publicLookup}): only then is it known where they lead.
 * @throws AppError `permission_denied`.
 */
export function refusePrivateAddress(url: URL): void {
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  if (isIP(host) !== 0 && !isPublicAddress(host)) throw privateAddress(url.host);
}

/** Looks names up, and refuses those that have an address which is not public: the one that is checked is the one connected to. */
export function publicLookup(resolve: LookupFunction): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, options, (error, address, family) => {
      const found = typeof address === "string" ? [{ address }] : (address ?? []);
      if (error === null && !found.every((entry) => isPublicAddress(entry.address))) {
        callback(privateAddress(hostname), "", 0);
        return;
      }
      callback(error, address, family);
    });
  };
}

function privateAddress(host: string): AppError {
  return new AppError(
    "permission_denied",
    `Cannot reach ${host}: a registry leads to an address that is not public, want its host among those that may be reached`,
  );
}
