/** Values that go beside a log message. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Where packages write what happened. The message is a fixed phrase; data goes in fields. Apps bind it to pino. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds `fields` to every line. */
  child(fields: LogFields): Logger;
}

/** The logger that packages use when they are given none. */
export const silentLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLogger,
};

/** A metric's labels. Their values come from closed sets. */
export type MetricLabels = Readonly<Record<string, string>>;

/** Counters and histograms by name. Names follow `<app>_<noun>_<unit>_total` and `<app>_<noun>_<unit>`. */
export interface Metrics {
  /** Adds `amount` (default 1) to the counter `name`. */
  count(name: string, amount?: number): void;
  /** Takes one measurement of the histogram `name`, in the unit of its name. */
  observe(name: string, value: number, labels?: MetricLabels): void;
}

/** The metrics that packages use when they are given none. */
export const silentMetrics: Metrics = { count: () => {}, observe: () => {} };
