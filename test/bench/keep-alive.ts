import { once } from "node:events";
import { connect, type Socket } from "node:net";

const ACCEPT =
  "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";

/** What a run of equal requests took. */
export interface LoadFigures {
  readonly requests: number;
  readonly wallMs: number;
  /** Of each request, in ascending order. */
  readonly latenciesMs: readonly number[];
}

/** Equal requests to be sent over keep-alive connections, one at a time on each. */
export interface Load {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  readonly connections: number;
  readonly requests: number;
  /** The path of the nth request. */
  readonly path: (n: number) => string;
}

/**
 * Sends requests as fast as the answers come. Answers are counted, not parsed beyond status and length: a client that costs more than
 * the server would measure itself.
 * @throws Error if an answer is not 200 or a connection ends.
 */
export async function runLoad(load: Load): Promise<LoadFigures> {
  const latenciesMs: number[] = [];
  let next = 0;
  const started = performance.now();
  await Promise.all(
    Array.from({ length: load.connections }, async () => {
      const connection = await KeepAlive.open(load.host);
      try {
        while (next < load.requests) {
          const begun = performance.now();
          const path = load.path(next);
          next += 1;
          await connection.get(path);
          latenciesMs.push(performance.now() - begun);
        }
      } finally {
        connection.close();
      }
    }),
  );
  const wallMs = performance.now() - started;
  return {
    requests: latenciesMs.length,
    wallMs,
    latenciesMs: latenciesMs.sort((a, b) => a - b),
  };
}

/** One connection that asks again and again. */
export class KeepAlive {
  readonly #socket: Socket;
  readonly #host: string;
  /** Bytes of the answer that are still to come; undefined until its head was read. */
  #restBytes: number | undefined;
  #head = "";
  #settle: { done: (bodyBytes: number) => void; fail: (error: Error) => void } | undefined;
  #bodyBytes = 0;

  private constructor(socket: Socket, host: string) {
    this.#socket = socket;
    this.#host = host;
    socket.on("data", (bytes: Buffer) => this.#take(bytes));
    socket.on("error", (error) => this.#settle?.fail(error));
    socket.on("close", () => this.#settle?.fail(new Error("the connection ended")));
  }

  /** Connects to `host:port`. */
  static async open(host: string): Promise<KeepAlive> {
    const [name, port] = host.split(":");
    const socket = connect({ host: name, port: Number(port), noDelay: true });
    await once(socket, "connect");
    return new KeepAlive(socket, host);
  }

  /** Resolves with the length of the body when it has arrived. */
  get(path: string): Promise<number> {
    return new Promise((done, fail) => {
      this.#settle = { done, fail };
      const head = `GET ${path} HTTP/1.1\r\nHost: ${this.#host}\r\nAccept: ${ACCEPT}\r\n\r\n`;
      this.#socket.write(head);
    });
  }

  /** Ends the connection. */
  close(): void {
    this.#settle = undefined;
    this.#socket.destroy();
  }

  #take(bytes: Buffer): void {
    if (this.#restBytes !== undefined) {
      this.#count(bytes.length);
      return;
    }
    this.#head += bytes.toString("latin1");
    const end = this.#head.indexOf("\r\n\r\n");
    if (end < 0) return;
    const length = /\r\ncontent-length: (\d+)\r\n/i.exec(`${this.#head.slice(0, end)}\r\n`)?.[1];
    if (!this.#head.startsWith("HTTP/1.1 200 ") || length === undefined) {
      this.#settle?.fail(new Error(`the answer is ${this.#head.slice(0, 200)}`));
      return;
    }
    this.#bodyBytes = Number(length);
    this.#restBytes = this.#bodyBytes;
    const come = this.#head.length - end - 4;
    this.#head = "";
    this.#count(come);
  }

  #count(bytes: number): void {
    this.#restBytes = (this.#restBytes ?? 0) - bytes;
    if (this.#restBytes > 0) return;
    this.#restBytes = undefined;
    this.#settle?.done(this.#bodyBytes);
  }
}

/** The value below which `share` of the sorted numbers are. */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
