/** What a metric is: how it is counted, what it says, and the closed sets of its labels. */
export interface MetricSpec {
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  /** Label → the values that it can have; anything else is counted as `other`. */
  readonly labels?: Readonly<Record<string, readonly string[]>>;
  /** Upper bounds, in the unit of the name. */
  readonly buckets?: readonly number[];
}

/** Every metric of a program, by its name. */
export type MetricTable = Readonly<Record<string, MetricSpec>>;

/** The labels that a metric has, each with a value of its set. */
export function knownLabels(
  spec: MetricSpec | undefined,
  labels: Readonly<Record<string, string>>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(spec?.labels ?? {}).map(([label, values]) => {
      const value = labels[label];
      return [label, value !== undefined && values.includes(value) ? value : "other"];
    }),
  );
}
