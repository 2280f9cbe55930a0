import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** How slow a link is. */
export interface LinkOptions {
  /** Round-trip time; half of it is added in each direction, and one whole before a connection's first byte. */
  readonly rttMs: number;
  /** Bandwidth that all connections share, each direction its own, in 10^6 bits a second. */
  readonly megabitPerSecond: number;
}

/** A TCP proxy that behaves like a wide-area link, and counts what crosses it. */
export interface SlowLink extends AsyncDisposable {
  readonly host: string;
  /** Counts since the start, or since {@link SlowLink.resetCounts}. */
  readonly counts: Readonly<LinkCounts>;
  resetCounts(): void;
}

/** What crossed a link. A request is a chunk from the client that starts with an HTTP method. */
export interface LinkCounts {
  requests: number;
  connections: number;
  bytesUp: number;
  bytesDown: number;
}

const REQUEST_LINE = /^(GET|HEAD|POST|PUT|PATCH|DELETE) /;
const QUEUE_HIGH_BYTES = 4 * 1024 * 1024;
const QUEUE_LOW_BYTES = 2 * 1024 * 1024;

/** Starts a link to `target` (`host:port`) on a free port of the loopback, in this process. */
export async function startSlowLink(target: string, options: LinkOptions): Promise<SlowLink> {
  const [host, port] = target.split(":");
  const counts: LinkCounts = { requests: 0, connections: 0, bytesUp: 0, bytesDown: 0 };
  const up = new Lane(options);
  const down = new Lane(options);
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    const upstream = connect({
      host: host ?? "127.0.0.1",
      port: Number(port),
      allowHalfOpen: true,
    });
    counts.connections += 1;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("close", () => sockets.delete(socket));
      socket.on("error", () => {
        client.destroy();
        upstream.destroy();
      });
    }
    setTimeout(() => {
      up.carry(client, upstream, (chunk) => {
        counts.bytesUp += chunk.length;
        if (REQUEST_LINE.test(chunk.subarray(0, 8).toString("latin1"))) counts.requests += 1;
      });
      down.carry(upstream, client, (chunk) => {
        counts.bytesDown += chunk.length;
      });
      client.resume();
    }, options.rttMs);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    host: `127.0.0.1:${typeof address === "object" ? address?.port : 0}`,
    counts,
    resetCounts() {
      Object.assign(counts, { requests: 0, connections: 0, bytesUp: 0, bytesDown: 0 });
    },
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, "close");
    },
  };
}

/** One direction of the link: a chunk leaves when the chunks before it have been sent, and arrives half a round trip later. */
class Lane {
  readonly #oneWayMs: number;
  readonly #bytesPerMs: number;
  #freeAtMs = 0;

  constructor(options: LinkOptions) {
    this.#oneWayMs = options.rttMs / 2;
    this.#bytesPerMs = (options.megabitPerSecond * 1e6) / 8 / 1000;
  }

  carry(from: Socket, to: Socket, onChunk: (chunk: Buffer) => void): void {
    const queue: { readonly atMs: number; readonly chunk: Buffer | undefined }[] = [];
    let queuedBytes = 0;
    let timer: NodeJS.Timeout | undefined;
    const arm = (): void => {
      const next = queue[0];
      if (next === undefined || timer !== undefined) return;
      timer = setTimeout(deliver, Math.max(0, next.atMs - performance.now()));
    };
    const deliver = (): void => {
      timer = undefined;
      const nowMs = performance.now() + 0.5;
      for (let next = queue[0]; next !== undefined && next.atMs <= nowMs; next = queue[0]) {
        queue.shift();
        if (next.chunk === undefined) to.end();
        else {
          queuedBytes -= next.chunk.length;
          if (!to.destroyed) to.write(next.chunk);
        }
      }
      if (queuedBytes < QUEUE_LOW_BYTES) from.resume();
      arm();
    };
    const enqueue = (chunk: Buffer | undefined): void => {
      queue.push({ atMs: this.#arrival(chunk?.length ?? 0), chunk });
      arm();
    };
    from.on("data", (chunk: Buffer) => {
      onChunk(chunk);
      queuedBytes += chunk.length;
      if (queuedBytes > QUEUE_HIGH_BYTES) from.pause();
      enqueue(chunk);
    });
    from.on("end", () => enqueue(undefined));
    to.on("close", () => {
      clearTimeout(timer);
      from.destroy();
    });
  }

  #arrival(bytes: number): number {
    this.#freeAtMs = Math.max(this.#freeAtMs, performance.now()) + bytes / this.#bytesPerMs;
    return this.#freeAtMs + this.#oneWayMs;
  }
}
