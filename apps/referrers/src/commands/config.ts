import { defaultFile, faultText, settingsDocument, settingsFile } from "@soci-ts/settings";
import { CONFIG_TABLE } from "../config/table.ts";
import { type Config, readConfig } from "../config.ts";
import type { Report, Session } from "../session.ts";

/** `config default`: a complete file, with what each key means. */
export function configDefault(): Report {
  const text = defaultFile(CONFIG_TABLE, "soci-referrers");
  return { json: { file: text }, text };
}

/** `config dump`: what the program would run with. */
export function configDump(config: Config): Report {
  return { json: settingsDocument(CONFIG_TABLE, config), text: settingsFile(CONFIG_TABLE, config) };
}

/** `config check`: every fault of the configuration, with key and line. */
export function configCheck({ flags, surroundings }: Session): Report {
  const { file, faults } = readConfig(flags, surroundings);
  const name = file ?? "the configuration (no file, all defaults)";
  const lines = faults.map((fault) => faultText(fault, file));
  return {
    json: { file: file ?? null, faults },
    text: faults.length === 0 ? `${name}: no faults` : lines.join("\n"),
    isFailed: faults.length > 0,
  };
}
