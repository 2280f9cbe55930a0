import type { Command, Option } from "commander";
import type { Report } from "../output.ts";

/** The shells that a script can be printed for. */
export type Shell = "bash" | "zsh" | "fish";

/** An option with the words that its value is chosen from; `undefined` if it takes no value, empty if any. */
interface Flag {
  readonly name: string;
  readonly summary: string;
  readonly values: readonly string[] | undefined;
}

/** One command with what can follow it. */
interface Entry {
  /** Words from the program's name on: `soci index ls`. */
  readonly path: string;
  readonly commands: readonly { readonly name: string; readonly summary: string }[];
  readonly flags: readonly Flag[];
  /** Words that an argument is chosen from. */
  readonly choices: readonly string[];
}

/** `soci completion SHELL`: a script made from the command tree itself, so that the two can't differ. */
export async function completion(program: Command, shell: Shell): Promise<Report> {
  const entries = walk(program, []);
  const script = SCRIPTS[shell](entries);
  return { json: { shell, script }, text: script };
}

const SCRIPTS: Readonly<Record<Shell, (entries: readonly Entry[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

function walk(command: Command, before: readonly string[]): Entry[] {
  const path = [...before, command.name()];
  const help = command.createHelp();
  const children = help.visibleCommands(command);
  const inherited = command.parent === null ? [] : help.visibleOptions(rootOf(command));
  const entry: Entry = {
    path: path.join(" "),
    commands: children.map((child) => ({
      name: child.name(),
      summary: child.summary() || child.description(),
    })),
    flags: flagsOf([...help.visibleOptions(command), ...inherited]),
    choices: command.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
  };
  return [entry, ...children.flatMap((child) => walk(child, path))];
}

function rootOf(command: Command): Command {
  return command.parent === null ? command : rootOf(command.parent);
}

function flagsOf(options: readonly Option[]): Flag[] {
  const flags = options.map(({ long, flags: name, description, argChoices, required }) => ({
    name: long ?? name,
    summary: description,
    values: required ? (argChoices ?? []) : undefined,
  }));
  return [...new Map(flags.map((flag) => [flag.name, flag])).values()];
}

/**
 * What bash and zsh share: `at` becomes the command that the words before the cursor name (options and arguments between
 * are passed over), and `candidates` what may come next; none where a file may.
 */
function findCandidates(entries: readonly Entry[]): string {
  const paths = entries.slice(1).map(({ path }) => `"${path}"`);
  const flags = new Map(entries.flatMap((entry) => entry.flags).map((flag) => [flag.name, flag]));
  const values = [...flags.values()].flatMap((flag) =>
    flag.values === undefined ? [] : [`    ${flag.name}) candidates="${flag.values.join(" ")}" ;;`],
  );
  const following = entries.map(
    (entry) => `      "${entry.path}") candidates="${candidates(entry).join(" ")}" ;;`,
  );
  return `  local at=soci word
  for word in "\${words_before[@]}"; do
    case "$at $word" in
      ${paths.join("|")}) at="$at $word" ;;
    esac
  done
  case "$previous" in
${values.join("\n")}
    *) case "$at" in
${following.join("\n")}
    esac ;;
  esac`;
}

function candidates(entry: Entry): string[] {
  const names = entry.commands.map(({ name }) => name);
  return [...names, ...entry.choices, ...entry.flags.map(({ name }) => name)];
}

function bashScript(entries: readonly Entry[]): string {
  return `# bash completion for soci
_soci() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" candidates=""
  local -a words_before=("\${COMP_WORDS[@]:1:COMP_CWORD-1}")
${findCandidates(entries)}
  COMPREPLY=($(compgen -W "$candidates" -- "$current"))
}
complete -o default -F _soci soci
`;
}

function zshScript(entries: readonly Entry[]): string {
  return `#compdef soci
_soci() {
  local previous="\${words[CURRENT-1]}" candidates=""
  local -a words_before=("\${(@)words[2,CURRENT-1]}")
${findCandidates(entries)}
  compadd -- \${=candidates}
  _files
}
compdef _soci soci
`;
}

function fishScript(entries: readonly Entry[]): string {
  return ["# fish completion for soci", ...entries.flatMap(fishLines), ""].join("\n");
}

function fishLines(entry: Entry): string[] {
  const seen = entry.path
    .split(" ")
    .slice(1)
    .map((word) => `__fish_seen_subcommand_from ${word}`);
  const children = entry.commands.map(({ name }) => name).join(" ");
  const none = children === "" ? [] : [`not __fish_seen_subcommand_from ${children}`];
  const line = `complete -c soci -n ${quote([...seen, ...none].join("; and ") || "true")}`;
  return [
    ...entry.commands.map(({ name, summary }) => `${line} -f -a ${name} -d ${quote(summary)}`),
    ...entry.choices.map((choice) => `${line} -f -a ${choice}`),
    ...entry.flags.map(({ name, summary, values }) => {
      const value =
        values === undefined
          ? ""
          : values.length === 0
            ? " -r"
            : ` -x -a ${quote(values.join(" "))}`;
      return `${line} -l ${name.slice(2)}${value} -d ${quote(summary)}`;
    }),
  ];
}

function quote(text: string): string {
  return `'${text.replace(/['\\]/g, "\\$&")}'`;
}
