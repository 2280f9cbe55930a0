/** A value that SQLite stores. Integers beyond 2^53 − 1 are not supported; store them as text. */
export type SqlValue = string | number | Uint8Array | null;

/** What a database can be asked with. A driver implements this; migrations, pragmas and errors are on top of it. */
export interface Connection {
  /** Runs one or more statements that take no parameters and give no rows. */
  exec(sql: string): void;
  /** Compiles one statement. */
  prepare(sql: string): RawStatement;
  /** Closes the file; throws if a statement is running. */
  close(): void;
}

/** A compiled statement, as both drivers have it. */
export interface RawStatement {
  get(...parameters: readonly SqlValue[]): unknown;
  all(...parameters: readonly SqlValue[]): unknown[];
  run(...parameters: readonly SqlValue[]): { changes: number | bigint };
}

/** How a connection is opened. */
export interface ConnectOptions {
  /** Refuse every write, and fail if the file is absent. */
  readonly readOnly: boolean;
  /** How long to wait for another process's lock, in milliseconds. */
  readonly busyTimeoutMs: number;
}

/** One way to reach SQLite. */
export interface Driver {
  /** The package or module it stands for. */
  readonly name: string;
  /** Opens `path`. Throws whatever the driver throws. */
  connect(path: string, options: ConnectOptions): Connection;
}
