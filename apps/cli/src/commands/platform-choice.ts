import { AppError } from "@soci-ts/core";
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

/** What was done for one platform. */
export interface PlatformReport {
  readonly json: Readonly<Record<string, unknown>>;
  readonly text: string;
}

/** How {@link reportPlatforms} goes about it. */
export interface PlatformWork {
  readonly source: ImageSource;
  readonly options: PlatformOptions;
  /** Between the texts of two platforms. */
  readonly separator: string;
  /** `undefined` stands for the platform that an image without a wish resolves to. */
  readonly work: (platform: Platform | undefined) => Promise<PlatformReport>;
}

/**
 * Does `work` for each platform that the options ask for. For one the report is that of `work`, and its failure is thrown; for several it
 * holds all reports and names what failed, which makes the command fail too.
 */
export async function reportPlatforms(
  session: Session,
  { source, options, separator, work }: PlatformWork,
): Promise<Report> {
  const wanted = (options.platform ?? []).map((text) => parsePlatform(text));
  if (options.allPlatforms !== true && wanted.length < 2) return work(wanted[0]);
  const { eachPlatform } = await import("@soci-ts/soci");
  const choice = options.allPlatforms === true ? "all" : wanted;
  const { signal } = session;
  return summary(await eachPlatform(source, choice, { work, signal }), separator);
}

function summary(outcomes: readonly PlatformOutcome<PlatformReport>[], separator: string): Report {
  const platforms: Record<string, unknown>[] = [];
  const failed: object[] = [];
  const texts: string[] = [];
  const errors: AppError[] = [];
  for (const outcome of outcomes) {
    const platform = formatPlatform(outcome.platform);
    if (outcome.kind === "done") {
      platforms.push({ platform, ...outcome.result.json });
      texts.push(outcome.result.text);
    } else {
      const { code, message } = outcome.error;
      failed.push({ platform, error: { code, message } });
      errors.push(new AppError(code, `${platform}: ${message}`, { cause: outcome.error }));
    }
  }
  const [first] = errors;
  return {
    json: { platforms, failed },
    text: texts.join(separator),
    errors,
    ...(first !== undefined && { failed: first.code }),
  };
}
