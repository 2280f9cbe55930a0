import { AppError, concatBytes } from "@soci-ts/core";
import { numberHeader } from "./headers.ts";
import { shownUrl } from "./redact.ts";
import type { Transport, WireResponse } from "./transport.ts";

/**
 * The whole body of an answer, then the answer is done with.
 * @throws AppError `resource_exhausted` as soon as it is known to be longer than `maxBytes`.
 */
export async function readBody(
  response: WireResponse,
  maxBytes: number,
  transport: Transport,
): Promise<Uint8Array> {
  const action = `read the answer of ${shownUrl(response.url)}`;
  const tooLong = (length: number): AppError =>
    new AppError(
      "resource_exhausted",
      `Cannot ${action}: it has ${length} bytes or more, want at most ${maxBytes}`,
    );
  try {
    const announced = numberHeader(response.headers, "content-length") ?? 0;
    if (announced > maxBytes) throw tooLong(announced);
    const pieces: Uint8Array[] = [];
    let length = 0;
    for await (const piece of response.body as AsyncIterable<Uint8Array>) {
      length += piece.length;
      if (length > maxBytes) throw tooLong(length);
      pieces.push(piece);
    }
    return concatBytes(pieces);
  } catch (error) {
    throw transport.failure(error, action);
  } finally {
    response.body.destroy();
  }
}

/** Reads away a short body so that its connection can be used again; a long one costs the connection. */
export async function discardBody(response: WireResponse): Promise<void> {
  await response.body.dump({ limit: 65_536 });
}
