import type { Logger } from "@soci-ts/core";
import type { AccessOptions } from "@soci-ts/registry-server";
import type { Settings } from "../config.ts";

/** What access control is told of the configuration. */
export function accessOptions(settings: Settings, logger: Logger): AccessOptions {
  const { access, issuer, proxy, limits, audit } = settings;
  return {
    root: settings.root,
    service: access.service,
    publicUrl: optional(proxy.publicUrl),
    trustedProxies: proxy.trusted,
    htpasswdFile: optional(access.htpasswdFile),
    issuer: issuer.realm === "" ? undefined : issuer,
    rules: settings.rules,
    groups: settings.groups,
    tokenLifetimeMs: access.tokenLifetimeMs,
    clientRequestsPerSecond: limits.clientRequestsPerSecond,
    userRequestsPerSecond: limits.userRequestsPerSecond,
    failedLoginsPerMinute: access.failedLoginsPerMinute,
    quotas: settings.quotas,
    audit: audit.file === "" ? undefined : { file: audit.file, withReads: audit.events === "all" },
    logger,
  };
}

function optional(text: string): string | undefined {
  return text === "" ? undefined : text;
}
