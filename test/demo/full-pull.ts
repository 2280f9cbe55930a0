import { spawn } from "node:child_process";
import { once } from "node:events";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream } from "node:stream/web";

interface PulledManifest {
  readonly config: { readonly digest: string };
  readonly layers: readonly { readonly digest: string }[];
}

/** Fetches a whole image and unpacks it layer by layer, download and unpacking overlapped: a generous stand-in for a pull. */
export async function fullPull(repositoryUrl: string, tag: string, target: string): Promise<void> {
  const manifest = (await (
    await get(`${repositoryUrl}/manifests/${tag}`)
  ).json()) as PulledManifest;
  await (await get(`${repositoryUrl}/blobs/${manifest.config.digest}`)).arrayBuffer();
  // All downloads start at once and are unpacked in order, as containerd does.
  const responses = manifest.layers.map(async ({ digest }) =>
    get(`${repositoryUrl}/blobs/${digest}`),
  );
  for (const response of responses) {
    const tar = spawn(
      "tar",
      ["--extract", "--gzip", "--numeric-owner", "--same-permissions", "--directory", target],
      {
        stdio: ["pipe", "ignore", "inherit"],
      },
    );
    const ended = once(tar, "close");
    const { body } = await response;
    if (body === null) throw new Error("a layer has no body");
    await pipeline(Readable.fromWeb(body as ReadableStream), tar.stdin);
    const [code] = await ended;
    if (code !== 0) throw new Error(`tar ended with ${code}`);
  }
}

async function get(url: string): Promise<Response> {
  const accept = "application/vnd.oci.image.manifest.v1+json";
  const response = await fetch(url, { headers: { accept } });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return response;
}
