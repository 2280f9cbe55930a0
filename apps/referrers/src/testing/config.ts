import { type Config, loadConfig } from "../config.ts";

/** The configuration of a silent service on a free port of the loopback; `text` is its file. */
export function testConfig(root: string, text = ""): Config {
  return loadConfig(
    { root, listen: "127.0.0.1:0", logLevel: "silent", config: "config.toml" },
    { readFile: () => text },
  );
}
