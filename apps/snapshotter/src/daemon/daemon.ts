import type { Logger } from "@soci-ts/core";
import type { RememberedCredentials } from "@soci-ts/registry-client";
import type { DoorChoice, LazyNodeLayers, Snapshots } from "@soci-ts/snapshotter";
import type { Config } from "../config.ts";
import type { StatusDocument } from "../documents.ts";
import type { NodeMetrics } from "../metrics.ts";
import type { RecentErrors } from "./recent-errors.ts";
import type { RecentStories } from "./recent-stories.ts";

/** The parts of a running daemon. */
export interface Daemon {
  readonly config: Config;
  readonly version: string;
  readonly startedAt: Date;
  readonly door: DoorChoice;
  readonly layers: LazyNodeLayers;
  readonly snapshots: Snapshots;
  readonly metrics: NodeMetrics;
  /** Steps back since the start, by kind. */
  readonly fallbacks: () => StatusDocument["fallbacks"];
  /** What became of layers lately, also of those that containerd has no snapshot of. */
  readonly stories: RecentStories;
  /** What passed through the CRI proxy. */
  readonly kubelet: RememberedCredentials;
  readonly errors: RecentErrors;
  readonly logger: Logger;
}
