import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
/** Kernel ticks in /proc/PID/stat are hundredths of a second on every Linux that Node runs on. */
const TICK_MS = 10;

/** Pushes a blob by POST and PUT to `host:port`; returns its digest. */
export async function pushBlob(
  host: string,
  repository: string,
  bytes: Uint8Array,
): Promise<string> {
  const digest = digestOf(bytes);
  const begun = await fetch(`http://${host}/v2/${repository}/blobs/uploads/`, { method: "POST" });
  const location = new URL(begun.headers.get("location") ?? "", `http://${host}`);
  location.searchParams.set("digest", digest);
  const headers = { "content-type": "application/octet-stream" };
  const put = await fetch(location, { method: "PUT", headers, body: bytes });
  if (put.status !== 201) throw new Error(`pushing a blob to ${host} gave ${put.status}`);
  return digest;
}

/** Pushes a manifest with a config and ten layers, as images have; returns its digest. */
export async function pushManifest(host: string, repository: string, tag: string): Promise<string> {
  const descriptor = async (type: string, text: string): Promise<object> => {
    const bytes = Buffer.from(text);
    const digest = await pushBlob(host, repository, bytes);
    return { mediaType: `application/vnd.oci.image.${type}`, digest, size: bytes.length };
  };
  const layers: object[] = [];
  for (let n = 0; n < 10; n += 1) layers.push(await descriptor("layer.v1.tar+gzip", `layer ${n}`));
  const config = await descriptor("config.v1+json", "{}");
  const manifest = { schemaVersion: 2, mediaType: MANIFEST, config, layers };
  const body = Buffer.from(JSON.stringify(manifest));
  const url = `http://${host}/v2/${repository}/manifests/${tag}`;
  const put = await fetch(url, { method: "PUT", headers: { "content-type": MANIFEST }, body });
  if (put.status !== 201) throw new Error(`pushing a manifest to ${host} gave ${put.status}`);
  return digestOf(body);
}

/** Processor time that a process has used so far, to 10 ms. */
export async function cpuMilliseconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  // The name in brackets may have spaces; user and system time are the 14th and 15th field.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
