import { InvalidArgumentError, Option } from "commander";

/** `--platform`, which may be given several times. */
export function platforms(): Option {
  return new Option(
    "-p, --platform <os/arch>",
    "which image of a multi-platform one (default: this machine's); may be repeated",
  ).argParser((text: string, before: readonly string[] | undefined) => [...(before ?? []), text]);
}

const UNITS_MS: ReadonlyMap<string, number> = new Map([
  ["ms", 1],
  ["s", 1_000],
  ["m", 60_000],
  ["h", 3_600_000],
]);

/** Milliseconds of a duration as Go spells it: `90s`, `1m30s`, `0`. */
export function duration(text: string): number {
  if (text === "0") return 0;
  if (!/^(?:\d{1,9}(?:\.\d{1,9})?(?:ms|[smh]))+$/.test(text)) {
    throw new InvalidArgumentError("Want a duration like 90s, 1m30s or 0.");
  }
  let sum = 0;
  for (const [, amount, unit] of text.matchAll(/([\d.]+)(ms|[smh])/g)) {
    sum += Number(amount) * (UNITS_MS.get(unit ?? "") ?? 0);
  }
  // What a timer can wait: 2^31 - 1 ms.
  if (sum > 0 && sum < 2 ** 31) return sum;
  throw new InvalidArgumentError("Want a duration above 0 and below 24 days, or 0.");
}

const MOST_UPLOADS = 64;

/** Uploads at a time: 1 to 64. */
export function uploadCount(text: string): number {
  const count = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= MOST_UPLOADS) return count;
  throw new InvalidArgumentError(`Want 1 to ${MOST_UPLOADS}.`);
}
