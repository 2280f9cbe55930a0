// What the bundled programs have of undici: what `registry-client` uses. The package as a whole brings fetch, WebSockets, caches and mocks: 80 ms to
// start, and 8 MB.

import request from "undici/lib/api/api-request.js";
import Dispatcher from "undici/lib/dispatcher/dispatcher.js";

export { default as buildConnector } from "undici/lib/core/connect.js";
export { default as Agent } from "undici/lib/dispatcher/agent.js";

// As undici itself does with all of its methods.
Object.assign(Dispatcher.prototype, { request });
