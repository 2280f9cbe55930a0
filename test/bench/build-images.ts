import type { NodeImage } from "../e2e/node-images.ts";
import { BENCH_IMAGES, DEBIAN_BASE } from "./node-bench-images.ts";

/** Images whose index building is compared with the reference's. */
export const BUILD_IMAGES: readonly NodeImage[] = [
  ...BENCH_IMAGES.filter(({ name }) => name === "python"),
  {
    name: "java",
    recipe: {
      base: DEBIAN_BASE,
      packages: ["openjdk-17-jdk-headless"],
      extra: {
        "app/H.java":
          'class H { public static void main(String[] a) { System.out.println("hello"); } }\n',
      },
    },
    command: ["/usr/bin/java", "/app/H.java"],
  },
  {
    name: "postgres",
    recipe: {
      base: DEBIAN_BASE,
      packages: ["postgresql-15"],
      extra: { "app/empty": "" },
    },
    command: ["/usr/lib/postgresql/15/bin/postgres", "--version"],
  },
];
