import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { AppError, DisposeStack, type Logger } from "@soci-ts/core";
import { snapshotsService } from "@soci-ts/containerd-api";
import {
  callLocal,
  chooseDoor,
  type DoorChoice,
  type LazyNodeLayers,
  nodePaths,
  openMetastore,
  openNodeLayers,
  openSnapshots,
  type Snapshots,
  serveLocalCalls,
  startIdMappedMounts,
  startMountHelper,
} from "@soci-ts/snapshotter";
import { openStore } from "@soci-ts/store";
import type { Config } from "../config.ts";
import { createLogger } from "../logger.ts";
import { createMetrics, type NodeMetrics } from "../metrics.ts";
import { snapshotsHandlers } from "../services/snapshots.ts";
import type { Session } from "../session.ts";
import { serveAtSocket, type SocketPlace } from "../socket.ts";
import { activatedSocket } from "../socket-activation.ts";
import { processCommand } from "./processes.ts";
import { RecentErrors } from "./recent-errors.ts";

/** The parts of a running daemon. */
export interface Daemon {
  readonly config: Config;
  readonly version: string;
  readonly startedAt: Date;
  readonly door: DoorChoice;
  readonly layers: LazyNodeLayers;
  readonly snapshots: Snapshots;
  readonly metrics: NodeMetrics;
  readonly errors: RecentErrors;
  readonly logger: Logger;
}
