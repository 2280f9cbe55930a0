import { isUpstreamName } from "@soci-ts/registry-server";
import { parseListen, type ReportFault, type SettingsOf } from "@soci-ts/settings";
import type { CONFIG_TABLE } from "./table.ts";

type Settings = SettingsOf<typeof CONFIG_TABLE>;

/** What the check has to know of the command line. */
export interface ListenFlags {
  readonly listen?: string;
  readonly insecureListenAny?: boolean;
}

/** Finds what several keys say together and no key alone shows. */
export function checkSettings(settings: Settings, flags: ListenFlags, report: ReportFault): void {
  checkTogether(settings, report);
  checkUsers(settings, report);
  checkUpstreams(settings, report);
  checkListen(settings, flags, report);
}

/** Each upstream is named once, and no login meant for this service goes to one. */
function checkUpstreams(settings: Settings, report: ReportFault): void {
  const names = settings.upstreams.map(({ name }) => name);
  if (names.length > 0 && settings.mode === "read-only") {
    report("mode", "is read-only, want read-write: what comes from [[upstreams]] is kept");
  }
  for (const [at, { name, login, dockerConfigFiles }] of settings.upstreams.entries()) {
    const path = `upstreams.${at}`;
    if (!isUpstreamName(name)) {
      report(`${path}.name`, `is ${JSON.stringify(name)}, want host or host:port, in lower case`);
    }
    if (names.indexOf(name) < at) report(`${path}.name`, `is ${name}, as that of another`);
    if (login === "companion") continue;
    if (hasAccess(settings)) {
      report(`${path}.login`, 'is client, want "companion": with [access] clients log in here');
    }
    if (dockerConfigFiles.length > 0) {
      report(`${path}.docker_config_files`, 'does nothing with login = "client"');
    }
  }
}

/** True if not everybody may do everything. */
function hasAccess({ access, issuer, rules }: Settings): boolean {
  return access.htpasswdFile !== "" || issuer.realm !== "" || rules.length > 0;
}

/** Keys that only mean something together. */
function checkTogether({ tls, issuer }: Settings, report: ReportFault): void {
  const sets = [
    { "tls.certificate_file": tls.certificateFile, "tls.key_file": tls.keyFile },
    {
      "issuer.realm": issuer.realm,
      "issuer.name": issuer.name,
      "issuer.keys_file": issuer.keysFile,
    },
  ];
  for (const keys of sets) {
    const entries = Object.entries(keys);
    const given = entries.find(([, value]) => value !== "");
    if (given === undefined) continue;
    for (const [key, value] of entries) {
      if (value === "") report(key, `is missing: ${given[0]} does nothing without it`);
    }
  }
}

/** Rules that nobody could ever use are mistakes. */
function checkUsers({ groups, rules, access, issuer }: Settings, report: ReportFault): void {
  const names = groups.map(({ name }) => name);
  for (const [at, name] of names.entries()) {
    if (names.indexOf(name) < at) report(`groups.${at}.name`, `is ${name}, as that of another`);
  }
  const hasUsers = access.htpasswdFile !== "" || issuer.realm !== "";
  for (const [at, { users }] of rules.entries()) {
    const path = `rules.${at}.users`;
    for (const user of users) {
      if (user.startsWith("@") && !names.includes(user.slice(1))) {
        report(path, `has ${user}, want a name of [[groups]]`);
      } else if (user !== "anonymous" && !hasUsers) {
        report(path, `has ${user}, who can't log in: want [access] htpasswd_file, or anonymous`);
      }
    }
  }
}

/** Nothing is open to other machines, and no password goes over the network in the clear, unless somebody says so. */
function checkListen(settings: Settings, flags: ListenFlags, report: ReportFault): void {
  const { listen, tls, proxy } = settings;
  if (flags.insecureListenAny === true || isLoopbackHost(parseListen(listen)?.host ?? "")) return;
  const isRestricted = hasAccess(settings);
  const isEncrypted = tls.certificateFile !== "" || proxy.trusted.length > 0;
  if (isRestricted && isEncrypted) return;
  const missing = [
    ...(isRestricted ? [] : ["[access] htpasswd_file, or everyone could push and delete"]),
    ...(isEncrypted ? [] : ["[tls], or [proxy] trusted, or passwords could be read on the way"]),
  ];
  report(
    flags.listen === undefined ? "listen" : "--listen",
    `is ${listen}, which other machines reach: want ${missing.join("; and ")}; else a loopback address, or --insecure-listen-any`,
  );
}

/** True if only this machine reaches what listens there. */
export function isLoopbackHost(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host);
}
