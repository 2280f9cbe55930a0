import { BlockList, isIP } from "node:net";
import { AppError } from "@soci-ts/core";

/** The usual proxy settings, as their environment variables hold them. */
export interface ProxySettings {
  /** HTTPS_PROXY: for https URLs. */
  readonly httpsProxy?: string | undefined;
  /** HTTP_PROXY: for http URLs. */
  readonly httpProxy?: string | undefined;
  /**
   * NO_PROXY: comma-separated hosts that are reached directly. `example.com` means it and all below it, `.example.com` and
   * `*.example.com` only what is below; addresses, CIDR blocks, `host:port` and `*` are understood.
   */
  readonly noProxy?: string | undefined;
}

/**
 * The proxy through which `url` is to be reached; undefined for a direct connection. Loopback is always direct.
 * @throws AppError `invalid_argument` if the setting is no proxy URL (its text, which may hold a password, is not shown).
 */
export function proxyFor(url: URL, settings: ProxySettings): URL | undefined {
  const isTls = url.protocol === "https:";
  const text = isTls ? settings.httpsProxy : settings.httpProxy;
  if (text === undefined || text.trim() === "") return undefined;
  if (isLoopbackHost(url.hostname) || isExcluded(url, settings.noProxy ?? "")) return undefined;
  const spelled = /^[a-z][a-z0-9+.-]*:\/\//i.test(text.trim())
    ? text.trim()
    : `http://${text.trim()}`;
  const proxy = URL.canParse(spelled) ? new URL(spelled) : undefined;
  if (proxy !== undefined && /^https?:$/.test(proxy.protocol)) return proxy;
  const name = isTls ? "HTTPS_PROXY" : "HTTP_PROXY";
  throw new AppError(
    "invalid_argument",
    `Cannot use the proxy in ${name}: it is no http or https URL, want http://host:port`,
  );
}

/** True for `localhost`, names below it, 127.0.0.0/8 and ::1, as a URL spells a host. */
export function isLoopbackHost(hostname: string): boolean {
  const host = bareHost(hostname);
  if (host === "localhost" || host.endsWith(".localhost")) return true;
  return isIP(host) === 4 ? host.startsWith("127.") : host === "::1";
}

function isExcluded(url: URL, noProxy: string): boolean {
  const host = bareHost(url.hostname);
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  return noProxy
    .split(/[\s,]+/)
    .filter((rule) => rule !== "")
    .some((rule) => matches(rule.toLowerCase(), host, port));
}

function matches(rule: string, host: string, port: string): boolean {
  if (rule === "*") return true;
  const { pattern, portWanted } = splitPort(rule);
  if (portWanted !== undefined && portWanted !== port) return false;
  const slash = pattern.indexOf("/");
  if (slash >= 0) return isInBlock(host, pattern.slice(0, slash), pattern.slice(slash + 1));
  if (isIP(pattern) !== 0) return isIP(host) !== 0 && sameAddress(pattern, host);
  const domain = pattern.replace(/^\*?\./, "");
  if (host.endsWith(`.${domain}`)) return true;
  return host === domain && domain === pattern;
}

function splitPort(rule: string): { pattern: string; portWanted: string | undefined } {
  const bracketed = /^\[([0-9a-f:.]+)\](?::(\d+))?$/.exec(rule);
  if (bracketed !== null) return { pattern: bracketed[1] ?? "", portWanted: bracketed[2] };
  const plain = /^([^:]+):(\d+)$/.exec(rule);
  return { pattern: plain?.[1] ?? rule, portWanted: plain?.[2] };
}

function isInBlock(host: string, network: string, bits: string): boolean {
  const family = familyOf(network);
  if (family === undefined || familyOf(host) !== family || !/^\d{1,3}$/.test(bits)) return false;
  if (Number(bits) > (family === "ipv4" ? 32 : 128)) return false;
  const block = new BlockList();
  block.addSubnet(network, Number(bits), family);
  return block.check(host, family);
}

function sameAddress(a: string, b: string): boolean {
  const family = familyOf(a);
  return (
    family !== undefined &&
    familyOf(b) === family &&
    isInBlock(b, a, family === "ipv4" ? "32" : "128")
  );
}

function familyOf(address: string): "ipv4" | "ipv6" | undefined {
  const version = isIP(address);
  if (version === 0) return undefined;
  return version === 4 ? "ipv4" : "ipv6";
}

function bareHost(hostname: string): string {
  return hostname
    .toLowerCase()
    .replace(/^\[(.*)\]$/, "$1")
    .replace(/\.$/, "");
}
