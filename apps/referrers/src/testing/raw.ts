import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** A connection on which anything can be sent. */
export interface RawConnection extends Disposable {
  readonly socket: Socket;
  /** All that came, as latin1, once it matches; by default, or if it never does, at the connection's end. */
  received(pattern?: RegExp): Promise<string>;
}

/** Connects to the server of a URL and sends text, as latin1. */
export async function sendRaw(url: string, text: string): Promise<RawConnection> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  let all = "";
  let isMet = (): boolean => false;
  let done = (): void => {};
  socket.on("data", (bytes: Buffer) => {
    all += bytes.toString("latin1");
    if (isMet()) done();
  });
  // A reset connection has ended too.
  socket.on("error", () => {});
  socket.on("close", () => done());
  await once(socket, "connect");
  socket.write(text, "latin1");
  return {
    socket,
    received: (pattern) =>
      new Promise((resolve) => {
        isMet = () => pattern?.test(all) === true;
        done = () => resolve(all);
        if (socket.closed || isMet()) done();
      }),
    [Symbol.dispose]: () => socket.destroy(),
  };
}
