import { read, readSync, write, writevSync } from "node:fs";

/** Errors of receiving after which the next one is tried: no request was lost. */
export const RETRY: ReadonlySet<string> = new Set(["EINTR", "EAGAIN", "ENOENT"]);
/** Errors that say that the mount is gone: unmounted, or its connection aborted. */
export const ENDED: ReadonlySet<string> = new Set(["ENODEV", "ECONNABORTED"]);
/** What is said of a message that nobody waits for: the kernel gave the request up (its reader was killed) or let go of the file, or the mount is gone. */
export const NOT_WANTED: ReadonlySet<string> = new Set(["ENOENT", ...ENDED]);

/** Where requests come from and replies go: `/dev/fuse`, or a stand-in in tests. One message is one read and one write. */
export interface FuseChannel {
  /** Waits for the next request; how many bytes of `buffer` it fills. Rejects with the system's error. */
  receive(buffer: Uint8Array): Promise<number>;
  /** Sends one reply whole. Does not wait. Throws the system's error. */
  send(pieces: readonly Uint8Array[]): void;
  /** Sends a message whose taking may wait for answers of ours: in libuv's pool. Rejects with the system's error. */
  sendAside(message: Uint8Array): Promise<void>;
}

/**
 * The channel over an open `/dev/fuse`. A `receive` that waits holds one thread of libuv's pool until a request comes or the
 * mount ends; nothing else ends it, so the process that has one can only be ended by SIGKILL.
 */
export function deviceChannel(fd: number): FuseChannel {
  return {
    receive: (buffer) =>
      new Promise((resolve, reject) => {
        read(fd, buffer, 0, buffer.length, null, (error, length) => {
          if (error === null) resolve(length);
          else reject(error);
        });
      }),
    send: (pieces) => {
      writevSync(fd, pieces);
    },
    sendAside: (message) =>
      new Promise((resolve, reject) => {
        write(fd, message, 0, message.length, null, (error) => {
          if (error === null) resolve();
          else reject(error);
        });
      }),
  };
}

/** What a thread that does nothing else receives requests by, and answers them. */
export interface BlockingChannel {
  /** Waits for the next request; how many bytes of `buffer` it fills. Throws the system's error. */
  receive(buffer: Uint8Array): number;
  /** Sends one reply whole. Throws the system's error. */
  send(pieces: readonly Uint8Array[]): void;
}

/** The same over an open `/dev/fuse`. */
export function blockingChannel(fd: number): BlockingChannel {
  return {
    receive: (buffer) => readSync(fd, buffer),
    send: (pieces) => {
      writevSync(fd, pieces);
    },
  };
}
