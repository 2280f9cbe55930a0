const UNITS_MS: ReadonlyMap<string, number> = new Map([
  ["ns", 1e-6],
  ["us", 1e-3],
  ["µs", 1e-3],
  ["μs", 1e-3],
  ["ms", 1],
  ["s", 1_000],
  ["m", 60_000],
  ["h", 3_600_000],
]);

/** Milliseconds of a duration as Go spells it (`1m30s`, `1.5h`, `200ms`); undefined if it is none or negative. */
export function parseGoDuration(text: string): number | undefined {
  if (text === "0") return 0;
  if (text.length > 64 || !/^(?:\d+(?:\.\d*)?(?:ns|[uµμ]s|ms|s|m|h))+$/.test(text))
    return undefined;
  let sum = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d*)?)(ns|[uµμ]s|ms|s|m|h)/g)) {
    sum += Number(amount) * (UNITS_MS.get(unit ?? "") ?? 0);
  }
  return Number.isFinite(sum) ? sum : undefined;
}
