import { type criApi, criImageService } from "@soci-ts/containerd-api";
import { parseReference, type RepositoryName } from "@soci-ts/oci";
import type { Credential } from "@soci-ts/registry-client";

/** What kubelet proves itself with to the registry of one image. Holds secrets: not to be logged. */
export interface PullCredential extends RepositoryName {
  readonly credential: Credential;
}

/** Names that Docker Hub goes by; in references it is `docker.io`. */
const DOCKER_HUB_HOSTS: ReadonlySet<string> = new Set(["index.docker.io", "registry-1.docker.io"]);

/**
 * The credential in a PullImage message; undefined if there is none, or it is for another registry than the image's, or can't be
 * understood: what is wrong with the message, containerd says.
 */
export function pullCredential(request: Uint8Array): PullCredential | undefined {
  try {
    const { image, auth } = decode(request);
    if (image === null || auth === null) return undefined;
    const { registry, repository } = parseReference(image.image);
    if (!isFor(auth.serverAddress, registry)) return undefined;
    const credential = credentialOf(auth);
    return credential === undefined ? undefined : { registry, repository, credential };
  } catch {
    // Not a message, or not a reference. The error is not passed on: it could quote a secret.
    return undefined;
  }
}

function decode(request: Uint8Array): criApi.PullImageRequest {
  const method = criImageService().definition["PullImage"];
  // The definition is PullImage's, so the message is.
  return method?.requestDeserialize(Buffer.from(request)) as criApi.PullImageRequest;
}

/** The order in which containerd's CRI looks at the fields. */
function credentialOf(auth: criApi.AuthConfig): Credential | undefined {
  if (auth.username !== "") return basic(auth.username, auth.password);
  if (auth.identityToken !== "") return { kind: "identity", refreshToken: auth.identityToken };
  if (auth.auth !== "") return decodeBasic(auth.auth);
  if (auth.registryToken !== "") return { kind: "bearer", token: auth.registryToken };
  return undefined;
}

/** base64 of `user:password`; docker pads the password with NULs. */
function decodeBasic(auth: string): Credential | undefined {
  const text = Buffer.from(auth, "base64").toString("utf8");
  const colon = text.indexOf(":");
  if (colon === -1) return undefined;
  return basic(text.slice(0, colon), text.slice(colon + 1).replace(/\0+$/, ""));
}

function basic(username: string, password: string): Credential {
  return { kind: "basic", username, password };
}

/** Whether a server address (a URL, or a host) is the registry, as far as it says; containerd sends a credential nowhere else either. */
function isFor(serverAddress: string, registry: string): boolean {
  if (serverAddress === "") return true;
  const url = serverAddress.includes("://") ? serverAddress : `https://${serverAddress}`;
  const { host } = new URL(url);
  return (DOCKER_HUB_HOSTS.has(host) ? "docker.io" : host) === registry.toLowerCase();
}
