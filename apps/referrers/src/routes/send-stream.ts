import type { ServerResponse } from "node:http";
import type { ResponseBody } from "@soci-ts/registry-server";

/**
 * Sends pieces as the body, after its headers, as fast as the client takes them. Pieces that fail, or a client that leaves,
 * destroy the response.
 */
export async function sendStream(
  response: ServerResponse,
  { pieces, cancel }: Extract<ResponseBody, { kind: "stream" }>,
): Promise<void> {
  const closed = new Promise<void>((resolve) => response.once("close", resolve));
  // The next piece may be a long time coming.
  response.once("close", cancel);
  try {
    for await (const piece of pieces) {
      if (response.destroyed) return;
      if (!response.write(piece)) await Promise.race([drained(response), closed]);
    }
    response.end();
    await closed;
  } catch (error) {
    // Why the pieces end does not matter once nobody waits for them.
    if (!response.destroyed) throw error;
  } finally {
    cancel();
    if (!response.writableEnded) response.destroy();
  }
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => response.once("drain", resolve));
}
