import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { AppError } from "@soci-ts/core";
import { checkSocketPath } from "./socket-path.ts";

/** How one call is made. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Until the call is given up with `deadline_exceeded`; default 60 s, `Infinity` for none. */
  readonly timeoutMs?: number | undefined;
  /** Headers of this call, beside those of the client: `containerd-lease` and the like. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** Messages that containerd sends are up to 16 MiB (its own limit). */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
const DEFAULT_TIMEOUT_MS = 60_000;

/** A gRPC channel over a Unix socket. It connects when first used, and again when the peer was restarted. Whoever opened it closes it. */
export class Transport implements AsyncDisposable {
  readonly #client: Client;
  #isClosed = false;
  readonly #headers: Readonly<Record<string, string>>;

  /** @throws AppError `invalid_argument` if no socket can have that path. */
  constructor(socketPath: string, headers: Readonly<Record<string, string>> = {}) {
    checkSocketPath(socketPath);
    this.#headers = headers;
    this.#client = new Client(`unix:${socketPath}`, credentials.createInsecure(), {
      // Go's servers refuse the path of a socket as an authority.
      "grpc.default_authority": "localhost",
      "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 1000,
      // Two clients of one socket with different life spans: neither is to inherit the other's back-off.
      "grpc.use_local_subchannel_pool": 1,
    });
  }

  /** For making calls. @throws AppError `failed_precondition` when it is closed. */
  get client(): Client {
    if (!this.#isClosed) return this.#client;
    throw new AppError("failed_precondition", "Cannot call: the client is closed, want it open");
  }

  /** The headers of a call. */
  metadata(options: CallOptions): Metadata {
    const metadata = new Metadata();
    for (const [name, value] of Object.entries({ ...this.#headers, ...options.headers })) {
      metadata.set(name, value);
    }
    return metadata;
  }

  /** When a call ends at the latest; ms since 1970, or `Infinity`. */
  deadline(options: CallOptions): number {
    return Date.now() + (options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  }

  /** Ends calls that are under way with `cancelled`. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#client.close();
  }
}
