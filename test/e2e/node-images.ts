// Images that containers of the tests and benchmarks run, made of Debian packages and kept from run to run.
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BuiltImage, buildDebianImage, type DebianImageOptions } from "@soci-ts/testkit";

/** What stays from run to run: downloaded packages, built images, a second containerd. */
export const CACHE: string = fileURLToPath(new URL("../../.cache", import.meta.url));

/** An image, and a command that shows that it works. */
export interface NodeImage {
  readonly name: string;
  readonly recipe: Omit<DebianImageOptions, "cache">;
  /** Prints a line. */
  readonly command: readonly string[];
}

/** What pod sandboxes run. */
export const PAUSE: NodeImage = {
  name: "pause",
  recipe: {
    base: ["busybox-static"],
    packages: ["busybox-static"],
    extra: { "etc/pause": "" },
    run: { entrypoint: ["/bin/busybox", "sleep", "1000000"] },
  },
  command: ["/bin/busybox", "true"],
};

/** Small images, for tests. */
export const SMALL_IMAGES: Readonly<Record<"python" | "nginx", NodeImage>> = {
  python: {
    name: "small-python",
    recipe: {
      packages: ["python3-minimal"],
      extra: { "app/hello.py": 'import os, re\nprint("uid", os.getuid(), flush=True)\n' },
      gzipLevel: 4,
    },
    command: ["/usr/bin/python3", "/app/hello.py"],
  },
  nginx: {
    name: "small-nginx",
    recipe: {
      packages: ["nginx-light"],
      extra: {
        "app/index.html": "hello from nginx\n",
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "etc/group": "root:x:0:\n",
      },
      gzipLevel: 4,
    },
    command: ["/usr/sbin/nginx", "-v"],
  },
};

/** The layout of an image, built unless a run before has built it from the same recipe. */
export async function imageLayout(image: NodeImage): Promise<BuiltImage> {
  const text = JSON.stringify(image.recipe);
  const key = createHash("sha256").update(text).digest("hex").slice(0, 12);
  const target = join(CACHE, "images", `${image.name}-${key}`);
  if (!existsSync(join(target, "built.json"))) {
    await mkdir(join(CACHE, "images"), { recursive: true });
    const work = await mkdtemp(join(CACHE, "images", "building-"));
    try {
      const built = await buildDebianImage(work, { ...image.recipe, cache: join(CACHE, "debian") });
      await writeFile(join(work, "built.json"), JSON.stringify(built));
      await rename(work, target);
    } catch (error) {
      // Another test may have built it meanwhile, and reads it.
      if (!existsSync(join(target, "built.json"))) throw error;
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }
  const built = JSON.parse(await readFile(join(target, "built.json"), "utf8")) as BuiltImage;
  return { ...built, directory: target };
}
