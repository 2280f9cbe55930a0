import { ALL_CAPABILITIES, type HostConfig, type HostsSource } from "../hosts.ts";

/** A host of a test: what differs from one at `origin` that can do everything. */
export function hostAt(origin: string, differs: Partial<HostConfig> = {}): HostConfig {
  return {
    url: { origin, path: "/v2" },
    capabilities: ALL_CAPABILITIES,
    headers: {},
    connection: undefined,
    ...differs,
  };
}

/** The same hosts for every registry, until {@link HostsSource} `replace` is given others. */
export function hostsOf(
  ...hosts: readonly HostConfig[]
): HostsSource & { replace(...others: readonly HostConfig[]): void } {
  let config = { hosts, source: "test" };
  return {
    hostsFor: async () => config,
    replace(...others) {
      config = { hosts: others, source: "test" };
    },
  };
}
