import { askProgram, type ProgramOptions, programFailure } from "./credential-program.ts";
import type { Credential } from "./credentials.ts";

/** How to ask a helper. */
export interface HelperOptions extends Omit<ProgramOptions, "label"> {
  /** The file that names the helper, for errors. */
  readonly file: string;
}

/**
 * The credential that `docker-credential-NAME get` gives for a server; undefined if it has none.
 * @throws AppError as {@link askProgram}; `failed_precondition` also for a name that leads elsewhere.
 */
export async function askHelper(
  name: string,
  server: string,
  options: HelperOptions,
): Promise<Credential | undefined> {
  const shown = JSON.stringify(name.slice(0, 128)).slice(1, -1);
  const label = `docker-credential-${shown}, named in ${options.file}`;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name)) {
    throw programFailure(label, "its name is not made of letters, digits and . _ - only");
  }
  return askProgram([`docker-credential-${name}`], server, { ...options, label });
}
