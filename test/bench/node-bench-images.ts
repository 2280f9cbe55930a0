import type { NodeImage } from "../e2e/node-images.ts";

/** The base that most images of a registry stand on: a Debian with its usual tools. */
export const DEBIAN_BASE: readonly string[] = [
  "base-files",
  "dash",
  "coreutils",
  "libc-bin",
  "bash",
  "git",
  "ca-certificates",
];
const NO_ALTERNATIVES =
  "LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu/blas:/usr/lib/x86_64-linux-gnu/lapack";

/** Images of the cold-start benchmark, with what each runs until its first line of output. */
export const BENCH_IMAGES: readonly NodeImage[] = [
  {
    name: "python",
    recipe: {
      base: DEBIAN_BASE,
      packages: ["python3", "python3-numpy", "python3-pandas"],
      extra: {
        "app/frame.py": [
          "import numpy, pandas",
          'frame = pandas.DataFrame({"a": numpy.arange(1000), "b": numpy.random.rand(1000)})',
          "print(frame.groupby(frame.a % 7).sum().shape, flush=True)",
          "",
        ].join("\n"),
      },
      run: { env: [NO_ALTERNATIVES] },
    },
    command: ["/usr/bin/python3", "/app/frame.py"],
  },
  {
    name: "node",
    recipe: {
      base: DEBIAN_BASE,
      packages: ["nodejs"],
      extra: {
        "app/app.js": [
          'const http = require("node:http"), fs = require("node:fs"), zlib = require("node:zlib");',
          "const server = http.createServer((_, answer) => answer.end(zlib.gzipSync(fs.readFileSync(__filename))));",
          'server.listen(0, () => { console.log("listening"); server.close(); });',
          "",
        ].join("\n"),
      },
    },
    command: ["/usr/bin/node", "/app/app.js"],
  },
  {
    name: "gcc",
    recipe: {
      base: DEBIAN_BASE,
      packages: ["gcc", "libc6-dev"],
      extra: {
        "app/hello.c": '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n',
      },
    },
    command: ["/bin/sh", "-c", "/usr/bin/gcc -o /tmp/hello /app/hello.c && /tmp/hello"],
  },
];
