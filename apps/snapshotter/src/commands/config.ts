import { resolve } from "node:path";
import { AppError } from "@soci-ts/core";
import {
  type ConfigFault,
  defaultFile,
  faultText,
  settingsDocument,
  settingsFile,
} from "@soci-ts/settings";
import {
  type ContainerdFindings,
  checkContainerdConfig,
  missingText,
} from "../config/containerd-checks.ts";
import {
  type ContainerdFiles,
  type ContainerdVersion,
  readContainerdConfig,
} from "../config/containerd-config.ts";
import { installedRelease, machineFiles } from "../config/containerd-files.ts";
import { CONFIG_TABLE } from "../config/table.ts";
import { type Config, type GlobalFlags, readConfig, type Surroundings } from "../config.ts";
import { plainText, type Report, wrap } from "../output.ts";
import type { Session } from "../session.ts";

/** `config default`: a complete file, with what each key means. */
export function configDefault(): Report {
  const text = defaultFile(CONFIG_TABLE, "soci-snapshotter");
  return { json: { file: text }, text };
}

/** `config dump`: what the daemon would run with. Words that can be secrets are hidden. */
export function configDump(config: Config): Report {
  return { json: settingsDocument(CONFIG_TABLE, config), text: settingsFile(CONFIG_TABLE, config) };
}

/** What `config check` looks at. */
export interface CheckSubjects {
  readonly flags: GlobalFlags;
  readonly surroundings: Surroundings;
  /** containerd's configuration file. */
  readonly containerdConfig: string;
  readonly files: ContainerdFiles;
  /** The release on this machine; `undefined` if there is none to ask. */
  readonly release: ContainerdVersion | undefined;
}

/**
 * `config check`: every fault of our configuration, and what containerd's lacks, with the lines to add. Fails with `invalid_argument` for
 * the former and `failed_precondition` for the latter.
 */
export function configCheck(subjects: CheckSubjects): Report {
  const { file, config, faults } = readConfig(subjects.flags, subjects.surroundings);
  // Without settings of our own nothing can be said of containerd's; the defaults would send people astray.
  const findings = config === undefined ? undefined : checkContainerd(subjects, config);
  const isComplete =
    findings !== undefined && "missing" in findings && findings.missing.length === 0;
  const failed =
    faults.length > 0 ? "invalid_argument" : isComplete ? undefined : "failed_precondition";
  return {
    json: { file: file ?? null, faults, containerd: findings ?? null },
    text: [ownText(file, faults), containerdText(subjects.containerdConfig, findings)]
      .filter((part) => part !== "")
      .join("\n\n"),
    failed,
  };
}

/** `config check` on this machine. */
export async function runConfigCheck(session: Session, containerdConfig: string): Promise<Report> {
  const { flags, surroundings, signal } = session;
  const files = machineFiles(surroundings.readFile);
  const release = await installedRelease(signal);
  return configCheck({
    flags,
    surroundings,
    containerdConfig: resolve(containerdConfig),
    files,
    release,
  });
}

type Findings = ContainerdFindings | { readonly unreadable: string };

function checkContainerd(subjects: CheckSubjects, config: Config): Findings {
  try {
    const merged = readContainerdConfig(
      subjects.containerdConfig,
      subjects.files,
      subjects.release,
    );
    return checkContainerdConfig(merged, config, subjects.release);
  } catch (error) {
    // It is what the check is to tell, not a failure of the check.
    return { unreadable: AppError.from(error).message };
  }
}

function ownText(file: string | undefined, faults: readonly ConfigFault[]): string {
  const name = file ?? "the configuration (no file, all defaults)";
  if (faults.length === 0) return `${name}: no faults`;
  return faults.map((fault) => plainText(faultText(fault, file))).join("\n");
}

function containerdText(path: string, findings: Findings | undefined): string {
  if (findings === undefined) return "";
  if ("unreadable" in findings) return plainText(findings.unreadable);
  const { version, missing, notes } = findings;
  const release = `containerd ${version.major}.${version.minor}, by ${version.from}`;
  const verdict =
    missing.length === 0
      ? `${path} (${release}): nothing is missing`
      : `${path} (${release}) lacks the following; a table that is there already gets only the lines:\n\n${missingText(missing)}\n\nThen restart containerd.`;
  return [verdict, ...notes.map((note) => wrap(note, "note: ", "      "))].join("\n");
}
