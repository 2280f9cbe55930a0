import { AppError, type ErrorCode } from "@soci-ts/core";
import { parseReference, type Reference } from "@soci-ts/oci";
import { EXIT_CODES } from "../exit-codes.ts";
import type { Session } from "../wire.ts";
import type { Finding } from "./finding.ts";

/** Whether a registry answers, and whether it gives the image's manifest if one is named. */
export async function checkRegistry(session: Session, name: string): Promise<Finding[]> {
  const image = isRegistryName(name) ? undefined : parseReference(name);
  const registry = image?.registry ?? name;
  const client = await session.client();
  const { signal } = session;
  const reached = await attempt(`registry ${registry}`, async () => {
    await client.ping(registry, { signal });
    return "answers /v2/";
  });
  if (image === undefined || reached.state !== "ok") return [reached];
  return [reached, await attempt(`image ${name}`, () => describeImage(session, image))];
}

async function describeImage(session: Session, image: Reference): Promise<string> {
  const client = await session.client();
  const { descriptor } = await client.fetchManifest(image, { signal: session.signal });
  return `${descriptor.digest}, ${descriptor.mediaType}`;
}

async function attempt(check: string, work: () => Promise<string>): Promise<Finding> {
  try {
    return { check, state: "ok", found: await work() };
  } catch (error) {
    const { code, message } = AppError.from(error);
    return { check, state: "fail", found: message, fix: FIXES[code] ?? EXIT_CODES[code].hint };
  }
}

/** Where what helps is another thing than in other commands. */
const FIXES: Partial<Record<ErrorCode, string>> = {
  unavailable:
    "check host and port, that the registry runs, and HTTPS_PROXY and NO_PROXY; give --plain-http for one without TLS, --ca-file for one with a CA of its own",
  deadline_exceeded: "check the way to the registry: a firewall that drops packets looks like this",
};

/** A host, perhaps with a port, and nothing behind it. */
function isRegistryName(name: string): boolean {
  return !name.includes("/") && (/[.[]|:\d+$/.test(name) || name === "localhost");
}
