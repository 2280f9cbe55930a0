// What the command tree loads when it is about to run one of them.
export { controlClient } from "./daemon/control.ts";
export { imageWorker, keeper, layerServer, mountHelper, trialServer } from "./daemon/roles.ts";
export { runDaemon } from "./daemon/run-daemon.ts";
