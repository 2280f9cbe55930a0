import { runMountHelper } from "../node/run-mount-helper.ts";

/* A helper process for the e2e tests. */
await runMountHelper();
