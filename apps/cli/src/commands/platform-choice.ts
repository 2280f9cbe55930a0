import { formatPlatform, type Platform, parsePlatform } from "@soci-ts/oci";
import type { ImageSource, PlatformOutcome } from "@soci-ts/soci";
import type { Report } from "../output.ts";
import type { Session } from "../wire.ts";

/** The options with which `create` and `push` choose platforms. */
export interface PlatformOptions {
  readonly platform?: readonly string[];
  /** Goes before `platform`. */
  readonly allPlatforms?: boolean;
}

/** What is done for one platform; `undefined` stands for the one that an image without a wish resolves to. */
export type PlatformWork = (platform: Platform | undefined) => Promise<Report>;

/**
 * Does `work` for each platform that the options ask for. For one the report is that of `work`, and its failure is thrown; for several it
 * holds all reports and names what failed, which makes the command fail too.
 */
export async function reportPlatforms(
  session: Session,
  { source, options }: { readonly source: ImageSource; readonly options: PlatformOptions },
  work: PlatformWork,
): Promise<Report> {
  const wanted = (options.platform ?? []).map((text) => parsePlatform(text));
  if (options.allPlatforms !== true && wanted.length < 2) return work(wanted[0]);
  const { eachPlatform } = await import("@soci-ts/soci");
  const choice = options.allPlatforms === true ? "all" : wanted;
  const { signal } = session;
  return summary(await eachPlatform(source, choice, { work, signal }));
}

function summary(outcomes: readonly PlatformOutcome<Report>[]): Report {
  const reports = outcomes.flatMap((outcome) => (outcome.kind === "done" ? [outcome.result] : []));
  const failures = outcomes.flatMap((outcome) => (outcome.kind === "failed" ? [outcome] : []));
  const failed = failures.map(({ platform, error: { code, message } }) => ({
    platform: formatPlatform(platform),
    error: { code, message },
  }));
  const texts = failed.map(({ platform, error }) => `failed  ${platform}: ${error.message}`);
  const [first] = failed;
  return {
    json: { platforms: reports.map(({ json }) => json), failed },
    text: [...reports.map(({ text }) => text), ...texts].join("\n\n"),
    ...(first !== undefined && { failed: first.error.code }),
  };
}
