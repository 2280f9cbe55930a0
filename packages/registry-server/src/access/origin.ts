import { BlockList, isIP } from "node:net";
import { headerOf, type RegistryRequest } from "../http.ts";
import { SpecError } from "../spec-error.ts";

const MAX_HOPS = 32;
const HOST = /^(?:[A-Za-z0-9._-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(?::\d{1,5})?$/;

/** Where a request comes from: the client, not the proxies between. */
export interface Origin {
  /** An IP address, or `unknown`. */
  readonly address: string;
  /** True if the client speaks TLS, with us or with a trusted proxy. */
  readonly isSecure: boolean;
}

/** The proxies whose word is taken: what others say in `X-Forwarded-*` is whatever a client likes to say. */
export class TrustedProxies {
  readonly #networks = new BlockList();
  readonly #isEmpty: boolean;

  /** @param networks - addresses (`::1`) and networks (`10.0.0.0/8`). */
  constructor(networks: readonly string[]) {
    this.#isEmpty = networks.length === 0;
    for (const network of networks) {
      const [address = "", bits] = network.split("/");
      const family = isIP(address) === 6 ? "ipv6" : "ipv4";
      if (bits === undefined) this.#networks.addAddress(address, family);
      else this.#networks.addSubnet(address, Number(bits), family);
    }
  }

  /** The origin of a request: read from `X-Forwarded-For` backwards, as far as the proxies are trusted, and `X-Forwarded-Proto`. */
  originOf(request: RegistryRequest): Origin {
    const { address = "unknown", isSecure = false } = request.peer ?? {};
    let nearest = plainAddress(address);
    if (!this.#isTrusted(nearest)) return { address: nearest, isSecure };
    const hops = (headerOf(request, "x-forwarded-for") ?? "").split(",").slice(-MAX_HOPS);
    for (const hop of hops.reverse()) {
      const next = plainAddress(hop.trim());
      if (isIP(next) === 0) break;
      nearest = next;
      if (!this.#isTrusted(nearest)) break;
    }
    const [scheme] = (headerOf(request, "x-forwarded-proto") ?? "").split(",");
    return { address: nearest, isSecure: isSecure || scheme?.trim().toLowerCase() === "https" };
  }

  #isTrusted(address: string): boolean {
    if (this.#isEmpty) return false;
    const family = isIP(address);
    return family !== 0 && this.#networks.check(address, family === 6 ? "ipv6" : "ipv4");
  }
}

/**
 * The service's own URL as this client reaches it, without a path, for places that need an absolute one.
 * @throws SpecError `UNSUPPORTED` (400) if `Host` is no host.
 */
export function ownUrl(request: RegistryRequest, { isSecure }: Origin): string {
  const host = headerOf(request, "host") ?? "";
  if (HOST.test(host)) return `${isSecure ? "https" : "http"}://${host}`;
  throw new SpecError("UNSUPPORTED", "Cannot answer: Host is none, want the registry's", {
    status: 400,
  });
}

/** What clients are told apart by: an IPv4 address, or the /64 of an IPv6 address, which is what one client has at the least. */
export function clientKey({ address }: Origin): string {
  if (isIP(address) !== 6) return address;
  const [head = "", tail] = (address.split("%")[0] ?? "").split("::");
  const groups = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - groups.length - after.length);
  const all = [...groups, ...Array<string>(zeros).fill("0"), ...after];
  return `${all
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")}::/64`;
}

/** True if a request comes from this machine. */
export function isLoopback({ address }: Origin): boolean {
  return address === "::1" || /^127(?:\.\d{1,3}){3}$/.test(address);
}

/** IPv4 addresses come as `::ffff:192.0.2.1` where one socket listens for both. */
function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, "");
}
