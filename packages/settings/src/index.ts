export {
  type ConfigFault,
  faultText,
  type Overrides,
  type ParsedSettings,
  type ParseOptions,
  parseSettings,
  type ReportFault,
} from "./parse-settings.ts";
export {
  faultsError,
  type ReadSettings,
  readIfThere,
  readSettings,
  type SettingsSource,
} from "./read-settings.ts";
export {
  defaultFile,
  settingsDocument,
  settingsFile,
  settingsMarkdown,
} from "./render-settings.ts";
export {
  camelCase,
  type KeyKind,
  type KeySpec,
  type SectionSpec,
  type SettingsOf,
  type SettingsTable,
  type SettingValue,
  sectionsOf,
} from "./table.ts";
export { tomlLines } from "./toml-lines.ts";
export { parseListen } from "./values.ts";
