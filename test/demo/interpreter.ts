import { existsSync } from "node:fs";
import { readdir, realpath } from "node:fs/promises";
import { command } from "@soci-ts/testkit";

/** A script language of this machine, and a program in it. */
export interface Interpreter {
  readonly name: string;
  readonly binary: string;
  /** Folders of its standard library. */
  readonly libraries: readonly string[];
  readonly scriptName: string;
  readonly script: string;
}

const PYTHON_SCRIPT = `
import argparse, email.message, html.parser, json, re, sys, textwrap
print("hello from Python %s inside the image: %d modules loaded" % (sys.version.split()[0], len(sys.modules)))
`;
const PERL_SCRIPT = `
use strict; use warnings; use POSIX qw(floor); use List::Util qw(sum); use File::Spec;
print "hello from Perl $^V inside the image: ", scalar(keys %INC), " modules loaded\n";
`;

/** Python where Debian's is installed, else Perl, which every Debian has. */
export async function findInterpreter(): Promise<Interpreter> {
  if (existsSync("/usr/bin/python3")) {
    const binary = await realpath("/usr/bin/python3");
    const library = (await readdir("/usr/lib")).find(
      (name) => binary.endsWith(name) && /^python3\.\d+$/.test(name),
    );
    if (library !== undefined) {
      return {
        name: "Python",
        binary,
        libraries: [`/usr/lib/${library}`],
        scriptName: "app.py",
        script: PYTHON_SCRIPT,
      };
    }
  }
  const binary = await realpath("/usr/bin/perl");
  const { stdout } = await command(binary, ["-e", 'print join "\n", @INC']);
  const libraries = stdout
    .split("\n")
    .filter((path) => path.startsWith("/usr/") && existsSync(path));
  return { name: "Perl", binary, libraries, scriptName: "app.pl", script: PERL_SCRIPT };
}
