import { AppError, delay } from "@soci-ts/core";
import type { StatusDocument } from "../documents.ts";
import { formatBytes, renderError } from "../output.ts";
import { statusReport } from "./status.ts";

/** What `status --watch` works with. */
export interface WatchStatusOptions {
  /** Asks the daemon. */
  readonly status: () => Promise<StatusDocument>;
  readonly write: (text: string) => Promise<void>;
  /** One document on a line instead of tables. */
  readonly json: boolean;
  /** True if what is written goes to a terminal: each view then takes the place of the one before. */
  readonly isTerminal: boolean;
  readonly intervalMs: number;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** Moves the cursor home and clears the screen and what was scrolled away (ECMA-48 CUP, ED; xterm). */
const CLEAR = "\u001b[H\u001b[2J\u001b[3J";

/** Shows the daemon's status again and again, until the signal aborts. A daemon that does not answer is waited for: it may be restarted just now. */
export async function watchStatus(options: WatchStatusOptions): Promise<void> {
  let before: StatusDocument | undefined;
  while (!options.signal.aborted) {
    before = await show(options, before);
    await delay(options.intervalMs, options.signal).catch(() => {}); // the end of watching is no failure
  }
}

async function show(
  { status, write, json, isTerminal }: WatchStatusOptions,
  before: StatusDocument | undefined,
): Promise<StatusDocument | undefined> {
  const clear = isTerminal && !json ? CLEAR : "";
  try {
    const document = await status();
    if (json) await write(`${JSON.stringify(document)}\n`);
    else await write(`${clear}${changeLine(document, before)}${statusReport(document).text}\n`);
    return document;
  } catch (error) {
    const failure = AppError.from(error);
    if (failure.code !== "unavailable" && failure.code !== "deadline_exceeded") throw failure;
    if (!json) await write(`${clear}${renderError(failure)}`);
    return before;
  }
}

/** What has changed since the view before; nothing of the first one, or of a daemon that was started since. */
function changeLine(now: StatusDocument, before: StatusDocument | undefined): string {
  const elapsedMs = now.uptimeMs - (before?.uptimeMs ?? Number.NaN);
  if (before?.pid !== now.pid || !(elapsedMs > 0)) return "";
  const seconds = elapsedMs / 1000;
  const fetched = Math.max(0, totalOf(now, "fetchedBytes") - totalOf(before, "fetchedBytes"));
  const requests = Math.max(0, totalOf(now, "requests") - totalOf(before, "requests"));
  const rate = formatBytes(Math.round(fetched / seconds));
  return `last ${seconds.toFixed(1)} s: fetched ${formatBytes(fetched)} (${rate}/s) in ${requests} requests\n\n`;
}

function totalOf(document: StatusDocument, key: "fetchedBytes" | "requests"): number {
  return document.images
    .flatMap(({ layers }) => layers)
    .reduce((total, layer) => total + layer[key], 0);
}
