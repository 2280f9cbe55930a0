import {
  type Overrides,
  type ParsedSettings,
  parseSettings as parseTable,
  type ReportFault,
  type SettingsOf,
} from "@soci-ts/settings";
import { CONFIG_TABLE } from "./table.ts";

/** The settings, checked and complete: `settings.mount.idleReleaseMs`. Made from the table of keys. */
export type Settings = SettingsOf<typeof CONFIG_TABLE>;

/** One `[[trust]]` entry. */
export type TrustRule = Settings["trust"][number];

/** Reads the text of a configuration file ("" gives the defaults); overrides go before it. All faults are found. */
export function parseSettings(text: string, overrides: Overrides = {}): ParsedSettings<Settings> {
  return parseTable(CONFIG_TABLE, text, { overrides, check: checkTrust });
}

/** What one key alone can't show: a list that is asked for and empty, and one that nobody asks for. */
export function checkTrust({ trust }: Settings, report: ReportFault): void {
  for (const [at, { require, digests }] of trust.entries()) {
    if (require === "listed" && digests.length === 0) {
      report(`trust.${at}.digests`, 'is empty, want a digest, since require = "listed"');
    }
    if (require !== "listed" && digests.length > 0) {
      report(
        `trust.${at}.digests`,
        `does nothing with require = "${require}", want require = "listed"`,
      );
    }
  }
}
