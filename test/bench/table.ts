/** Prints rows under their headings, columns aligned, numbers to the right. */
export function printTable(
  headings: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): void {
  const cells = [headings, ...rows].map((row) => row.map(String));
  const widths = headings.map((_, column) =>
    Math.max(...cells.map((row) => row[column]?.length ?? 0)),
  );
  for (const row of cells) {
    const line = row.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
    );
    console.log(`  ${line.join("  ")}`);
  }
}

/** Bytes over milliseconds, in 10^6 bytes a second. */
export function megabytesPerSecond(bytes: number, milliseconds: number): string {
  return (bytes / 1000 / milliseconds).toFixed(0);
}
