import { spawn } from "node:child_process";
import { once } from "node:events";

/** Runs a program with `root` as its root file system and answers its first line of output; fails if it fails. */
export async function firstOutput(root: string, program: readonly string[]): Promise<string> {
  const child = spawn("chroot", [root, ...program], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" },
  });
  let output = "";
  let errors = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const [code] = await once(child, "close");
  if (code !== 0)
    throw new Error(
      `${program.join(" ")} ended with ${code} inside ${root}: ${errors.slice(0, 500)}`,
    );
  return output.trim().split("\n")[0] ?? "";
}
