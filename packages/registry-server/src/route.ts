import { type Digest, isDigest } from "@soci-ts/core";
import { MAX_REPOSITORY_LENGTH } from "./limits.ts";
import { SpecError } from "./spec-error.ts";

/** The last part of a manifest's path. `invalid` is neither tag nor digest: it names nothing, and nothing can be put there. */
export type ManifestReference =
  | { readonly kind: "tag"; readonly tag: string }
  | { readonly kind: "digest"; readonly digest: Digest }
  | { readonly kind: "invalid"; readonly text: string };

/** What a path under `/v2/` stands for (distribution-spec v1.1.1 §Endpoints). */
export type Route =
  | { readonly kind: "base" }
  | { readonly kind: "blob"; readonly repository: string; readonly digest: Digest }
  | { readonly kind: "uploads"; readonly repository: string }
  | { readonly kind: "upload"; readonly repository: string; readonly id: string }
  | {
      readonly kind: "manifest";
      readonly repository: string;
      readonly reference: ManifestReference;
    }
  | { readonly kind: "tags"; readonly repository: string }
  | { readonly kind: "referrers"; readonly repository: string; readonly subject: Digest };

const NAME_COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

/**
 * The route of a path, still percent-encoded and not normalised. Names contain slashes and may contain words such as `blobs`,
 * so a path is read from its end.
 * @throws SpecError `NAME_INVALID`, `DIGEST_INVALID`, or `UNSUPPORTED` (404) for a path that the specification does not have.
 */
export function parseRoute(path: string): Route {
  const [root, version, ...segments] = path.split("/");
  if (root !== "" || version !== "v2") throw unknownPath(path);
  if (segments.length === 0 || (segments.length === 1 && segments[0] === "")) {
    return { kind: "base" };
  }
  const parts = segments.map(decode);
  const last = parts.at(-1) ?? "";
  const name = (tail: number): string => repositoryName(parts.slice(0, -tail));
  if (parts.at(-3) === "blobs" && parts.at(-2) === "uploads") {
    return last === ""
      ? { kind: "uploads", repository: name(3) }
      : { kind: "upload", repository: name(3), id: last };
  }
  switch (parts.at(-2) ?? "") {
    case "blobs":
      if (last === "uploads") return { kind: "uploads", repository: name(2) };
      return { kind: "blob", repository: name(2), digest: requireDigest(last) };
    case "manifests":
      return { kind: "manifest", repository: name(2), reference: manifestReference(last) };
    case "referrers":
      return { kind: "referrers", repository: name(2), subject: requireDigest(last) };
    case "tags":
      if (last === "list") return { kind: "tags", repository: name(2) };
      throw unknownPath(path);
    default:
      throw unknownPath(path);
  }
}

/** True if `text` can be a repository's name. */
export function isRepositoryName(text: string): boolean {
  return (
    text.length <= MAX_REPOSITORY_LENGTH &&
    text.split("/").every((component) => NAME_COMPONENT.test(component))
  );
}

/** True if `text` can be a tag. */
export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** @throws SpecError `DIGEST_INVALID` if `text` is not a digest by sha256 or sha512. */
export function requireDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new SpecError(
    "DIGEST_INVALID",
    `Cannot use digest ${shown(text)}: want sha256:<64 hex> or sha512:<128 hex>, lower case`,
  );
}

/** Client text in a message, cut to a bearable length. */
export function shown(text: string): string {
  return JSON.stringify(text.length > 160 ? `${text.slice(0, 160)}…` : text);
}

function manifestReference(text: string): ManifestReference {
  if (text.includes(":")) return { kind: "digest", digest: requireDigest(text) };
  return isTag(text) ? { kind: "tag", tag: text } : { kind: "invalid", text };
}

function repositoryName(parts: readonly string[]): string {
  const text = parts.join("/");
  if (isRepositoryName(text)) return text;
  throw new SpecError(
    "NAME_INVALID",
    `Cannot use repository ${shown(text)}: want at most ${MAX_REPOSITORY_LENGTH} characters, parts of a-z 0-9 with single . _ __ or dashes between`,
  );
}

function decode(segment: string): string {
  try {
    const text = decodeURIComponent(segment);
    // A hidden slash would make two paths of one name; left encoded it fits no rule.
    return text.includes("/") ? segment : text;
  } catch {
    // Malformed percent-encoding stays as it is: no name, tag or digest has a percent sign.
    return segment;
  }
}

function unknownPath(path: string): SpecError {
  return new SpecError("UNSUPPORTED", `Cannot serve ${shown(path)}: no such path`, { status: 404 });
}
