// A process that pulls one image as several clients at once: manifest, then three blobs at a time each, as containerd does.

import { once } from "node:events";
import { Agent, get, type IncomingMessage } from "node:http";
import { Semaphore } from "@soci-ts/core";

const [, , base = "", repository = "", clients = "1"] = process.argv;
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";

async function fetched(agent: Agent, path: string): Promise<IncomingMessage> {
  const headers = { accept: MANIFEST };
  const request = get(`${base}/v2/${repository}/${path}`, { agent, headers });
  const [answer] = (await once(request, "response")) as [IncomingMessage];
  if (answer.statusCode !== 200) throw new Error(`${path}: ${answer.statusCode}`);
  return answer;
}

async function pull(): Promise<number> {
  const agent = new Agent({ keepAlive: true });
  const document = Buffer.concat(await (await fetched(agent, "manifests/v1")).toArray());
  const { config, layers } = JSON.parse(document.toString()) as {
    config: { digest: string };
    layers: { digest: string }[];
  };
  const three = new Semaphore(3);
  let received = 0;
  const blobs = [config, ...layers].map(({ digest }) =>
    three.run(async () => {
      for await (const piece of await fetched(agent, `blobs/${digest}`)) {
        received += (piece as Buffer).length;
      }
    }),
  );
  await Promise.all(blobs);
  agent.destroy();
  return received;
}

const started = performance.now();
const bytes = await Promise.all(Array.from({ length: Number(clients) }, pull));
const milliseconds = performance.now() - started;
process.stdout.write(JSON.stringify({ milliseconds, bytes: bytes.reduce((a, b) => a + b, 0) }));
