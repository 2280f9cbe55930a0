// A process that reads ranges of an image's layers one after the other, as a container does that starts from lazy layers.
import { once } from "node:events";
import { Agent, get, type IncomingMessage } from "node:http";
import { seededRandom } from "@soci-ts/testkit";

const [, , base = "", repository = "", reads = "1"] = process.argv;
const RANGE_BYTES = 128 * 1024;
const agent = new Agent({ keepAlive: true });

async function fetched(path: string, headers: Record<string, string>): Promise<Buffer> {
  const request = get(`${base}/v2/${repository}/${path}`, { agent, headers });
  const [answer] = (await once(request, "response")) as [IncomingMessage];
  return Buffer.concat(await answer.toArray());
}

const accept = "application/vnd.oci.image.manifest.v1+json";
const document = (await fetched("manifests/v1", { accept })).toString();
const { layers } = JSON.parse(document) as { layers: { digest: string; size: number }[] };
const random = seededRandom(1);
const started = performance.now();
let bytes = 0;
for (let read = 0; read < Number(reads); read++) {
  const layer = layers[Math.floor(random() * layers.length)];
  if (layer === undefined) continue;
  const start = Math.floor(random() * (layer.size - RANGE_BYTES));
  const range = `bytes=${start}-${start + RANGE_BYTES - 1}`;
  bytes += (await fetched(`blobs/${layer.digest}`, { range })).length;
}
agent.destroy();
process.stdout.write(JSON.stringify({ milliseconds: performance.now() - started, bytes }));
