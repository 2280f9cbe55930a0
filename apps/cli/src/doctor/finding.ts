/** What one check found. `warn`: something works less well, or only some commands need it. */
export interface Finding {
  readonly check: string;
  readonly state: "ok" | "warn" | "fail";
  /** What was seen. */
  readonly found: string;
  /** The exact thing to do; present unless the state is `ok`. */
  readonly fix?: string;
}
