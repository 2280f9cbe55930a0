import { AppError, type Digest, isDigest } from "@soci-ts/core";
import {
  MAX_HOST_LENGTH,
  MAX_REFERENCE_LENGTH,
  MAX_REPOSITORY_LENGTH,
  MAX_TAG_LENGTH,
} from "./limits.ts";

/** Where an image is: `registry/repository[:tag][@digest]`. When both are given, `digest` decides. */
export interface Reference {
  /** Host, with the port if one was given: `docker.io`, `localhost:5000`, `[::1]:5000`. */
  readonly registry: string;
  readonly repository: string;
  readonly tag?: string | undefined;
  readonly digest?: Digest | undefined;
}

/** A repository, without saying which of its images. */
export type RepositoryName = Pick<Reference, "registry" | "repository">;

const DEFAULT_REGISTRY = "docker.io";
const DEFAULT_TAG = "latest";

const REPOSITORY_COMPONENT = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const HOST =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/;
const USERINFO = /^((?:[A-Za-z][A-Za-z0-9+.-]*:\/\/)?)[^/@]*:[^/@]*@(?![a-z0-9]+:)/;
const IPV6_HOST = /^\[[0-9A-Fa-f:.]{2,45}\]$/;

/**
 * The reference that `text` spells, made full as Docker does it: `ubuntu` is `docker.io/library/ubuntu:latest`. The part
 * before the first slash is a registry if it has a dot, a colon or a capital, or is `localhost`.
 * @throws AppError `invalid_argument` that says which part is wrong.
 */
export function parseReference(text: string): Reference {
  if (text.length > MAX_REFERENCE_LENGTH) {
    throw invalid(
      text,
      `it is ${text.length} characters long, want at most ${MAX_REFERENCE_LENGTH}`,
    );
  }
  const scheme = /^[A-Za-z][A-Za-z0-9+.-]*:\/\//.exec(text)?.[0];
  if (scheme !== undefined) throw invalid(text, `it starts with ${scheme}, want it without`);
  if (USERINFO.test(text)) throw invalid(text, "it has a user name, want it without");
  const { name, tag, digest } = splitName(text);
  const { registry, repository } = splitRegistry(name);
  checkRegistry(text, registry);
  checkRepository(text, repository);
  if (/^[0-9a-f]{64}$/.test(name)) {
    throw invalid(text, "its name is 64 hex digits, want a name and not an id");
  }
  if (tag !== undefined && !TAG.test(tag)) {
    throw invalid(
      text,
      `its tag ${shown(tag)} is no tag, want 1 to ${MAX_TAG_LENGTH} of A-Z a-z 0-9 _ . -`,
    );
  }
  if (digest !== undefined && !isDigest(digest)) {
    throw invalid(
      text,
      `its digest ${shown(digest)} is no digest, want sha256:<64 hex>, lower case`,
    );
  }
  const isBare = tag === undefined && digest === undefined;
  return {
    registry,
    repository,
    ...(isBare && { tag: DEFAULT_TAG }),
    ...(tag !== undefined && { tag }),
    ...(digest !== undefined && { digest }),
  };
}

/** The full form of a reference. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? "" : `:${reference.tag}`;
  const digest = reference.digest === undefined ? "" : `@${reference.digest}`;
  return `${reference.registry}/${reference.repository}${tag}${digest}`;
}

function splitName(text: string): { name: string; tag?: string; digest?: string } {
  const at = text.indexOf("@");
  const rest = at < 0 ? text : text.slice(0, at);
  const colon = rest.indexOf(":", rest.lastIndexOf("/") + 1);
  // `[::1]:5000` alone has no slash: its colons are no tag's.
  const hasTag = colon >= 0 && !rest.slice(rest.lastIndexOf("/") + 1).startsWith("[");
  return {
    name: hasTag ? rest.slice(0, colon) : rest,
    ...(hasTag && { tag: rest.slice(colon + 1) }),
    ...(at >= 0 && { digest: text.slice(at + 1) }),
  };
}

function splitRegistry(name: string): RepositoryName {
  const slash = name.indexOf("/");
  const first = slash < 0 ? "" : name.slice(0, slash);
  const isHost = /[.:A-Z[]/.test(first) || first === "localhost";
  if (isHost && !isDockerHub(first)) {
    return { registry: first, repository: name.slice(slash + 1) };
  }
  const repository = isHost ? name.slice(slash + 1) : name;
  const isOfficial = repository !== "" && !repository.includes("/");
  return {
    registry: DEFAULT_REGISTRY,
    repository: isOfficial ? `library/${repository}` : repository,
  };
}

function isDockerHub(host: string): boolean {
  return host === DEFAULT_REGISTRY || host === "index.docker.io";
}

function checkRegistry(text: string, registry: string): void {
  const port = /:(\d{1,5})$/.exec(registry)?.[1];
  const host = port === undefined ? registry : registry.slice(0, -port.length - 1);
  const isHost = IPV6_HOST.test(host) || (host.length <= MAX_HOST_LENGTH && HOST.test(host));
  const isPort = port === undefined || (Number(port) > 0 && Number(port) < 65_536);
  if (isHost && isPort) return;
  throw invalid(
    text,
    `its registry ${shown(registry)} is no host[:port], want for example localhost:5000`,
  );
}

function checkRepository(text: string, repository: string): void {
  if (repository === "")
    throw invalid(text, "it has no repository, want [registry/]repository[:tag]");
  if (repository.length > MAX_REPOSITORY_LENGTH) {
    throw invalid(
      text,
      `its repository is ${repository.length} characters long, want at most ${MAX_REPOSITORY_LENGTH}`,
    );
  }
  if (/[A-Z]/.test(repository)) throw invalid(text, "its repository has capitals, want lower case");
  const wrong = repository.split("/").find((component) => !REPOSITORY_COMPONENT.test(component));
  if (wrong === undefined) return;
  throw invalid(
    text,
    `its repository part ${shown(wrong)} is wrong, want a-z 0-9 with single . _ __ or dashes between`,
  );
}

function shown(text: string): string {
  return JSON.stringify(text.length > 160 ? `${text.slice(0, 160)}…` : text);
}

/** `user:password@host/…` is no reference, but people paste it: the password is not repeated. */
function invalid(text: string, problem: string): AppError {
  const safe = text.replace(USERINFO, "$1…@");
  return new AppError("invalid_argument", `Cannot parse reference ${shown(safe)}: ${problem}`);
}
