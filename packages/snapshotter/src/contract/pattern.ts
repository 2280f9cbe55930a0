import {
  type CharacterTest,
  isWord,
  PatternFault,
  type PatternNode,
  parsePattern,
} from "./pattern-syntax.ts";

/** A compiled pattern, or why it is none. */
export type CompiledPattern =
  | { readonly kind: "pattern"; matches(text: string): boolean }
  | { readonly kind: "fault"; readonly state: string };

/** Steps of the machine; `next` is a position in the program. */
type Step =
  | { readonly op: "character"; readonly test: CharacterTest; readonly next: number }
  | { readonly op: "edge"; readonly holds: Edge; readonly next: number }
  | { readonly op: "fork"; readonly targets: readonly number[] }
  | { readonly op: "match" };

type Edge = (before: number | undefined, after: number | undefined) => boolean;

/** Time for a text is at most this times its length. */
const MAX_STEPS = 512;

/**
 * Compiles a regular expression in the syntax of Go that both sides use: literals, classes, groups, alternatives, repetitions, `^ $ \b \B \A \z`,
 * `(?i)` in front. Not JavaScript's own: that backtracks, so a client's pattern could stop this process for hours. Here all ways are followed at once, which takes time
 * in proportion to pattern and text.
 */
export function compilePattern(source: string): CompiledPattern {
  try {
    const program = new Assembler().assemble(parsePattern(source));
    return { kind: "pattern", matches: (text) => run(program, text) };
  } catch (error) {
    if (error instanceof PatternFault) return { kind: "fault", state: error.message };
    throw error;
  }
}

/** Builds the program from its end to its beginning, so that every step knows where it goes on. */
class Assembler {
  readonly #steps: Step[] = [];

  assemble(node: PatternNode): { readonly steps: readonly Step[]; readonly start: number } {
    const end = this.#add({ op: "match" });
    const start = this.#node(node, end);
    return { steps: this.#steps, start };
  }

  #node(node: PatternNode, next: number): number {
    switch (node.kind) {
      case "character":
        return this.#add({ op: "character", test: node.test, next });
      case "edge":
        return this.#add({ op: "edge", holds: EDGES[node.edge], next });
      case "sequence":
        return node.nodes.reduceRight((after, part) => this.#node(part, after), next);
      case "choice":
        return this.#add({ op: "fork", targets: node.nodes.map((part) => this.#node(part, next)) });
      case "repeat":
        return this.#repeat(node, next);
    }
  }

  #repeat(node: Extract<PatternNode, { kind: "repeat" }>, next: number): number {
    let at = next;
    if (node.max === undefined) {
      const loop = this.#add({ op: "fork", targets: [] });
      this.#steps[loop] = { op: "fork", targets: [this.#node(node.node, loop), next] };
      at = loop;
    } else {
      for (let turn = node.min; turn < node.max; turn += 1) {
        at = this.#add({ op: "fork", targets: [this.#node(node.node, at), next] });
      }
    }
    for (let turn = 0; turn < node.min; turn += 1) at = this.#node(node.node, at);
    return at;
  }

  #add(step: Step): number {
    if (this.#steps.length >= MAX_STEPS) throw new PatternFault("the pattern is too large");
    this.#steps.push(step);
    return this.#steps.length - 1;
  }
}

const EDGES: Readonly<Record<Extract<PatternNode, { kind: "edge" }>["edge"], Edge>> = {
  start: (before) => before === undefined,
  end: (_, after) => after === undefined,
  word: (before, after) => isWordAt(before) !== isWordAt(after),
  "not-word": (before, after) => isWordAt(before) === isWordAt(after),
};

function isWordAt(character: number | undefined): boolean {
  return character !== undefined && isWord(character);
}

function run(
  { steps, start }: { readonly steps: readonly Step[]; readonly start: number },
  text: string,
): boolean {
  const characters = Array.from(text, (character) => character.codePointAt(0) ?? 0);
  let waiting: readonly number[] = [];
  for (let at = 0; at <= characters.length; at += 1) {
    const [before, after] = [characters[at - 1], characters[at]];
    // A match may begin anywhere, so the start joins at every place.
    const reached = reach(steps, [...waiting, start], { before, after });
    if (reached === "match") return true;
    waiting = after === undefined ? [] : advance(steps, reached, after);
  }
  return false;
}

/** The `character` steps that can be reached from `from` without taking a character. */
function reach(
  steps: readonly Step[],
  from: readonly number[],
  place: { readonly before: number | undefined; readonly after: number | undefined },
): readonly number[] | "match" {
  const seen = new Set<number>();
  const reached: number[] = [];
  const todo = [...from];
  for (let at = todo.pop(); at !== undefined; at = todo.pop()) {
    if (seen.has(at)) continue;
    seen.add(at);
    const step = steps[at];
    if (step?.op === "match") return "match";
    if (step?.op === "character") reached.push(at);
    else if (step?.op === "fork") todo.push(...step.targets);
    else if (step?.op === "edge" && step.holds(place.before, place.after)) todo.push(step.next);
  }
  return reached;
}

function advance(
  steps: readonly Step[],
  reached: readonly number[],
  character: number,
): readonly number[] {
  return reached.flatMap((at) => {
    const step = steps[at];
    return step?.op === "character" && step.test(character) ? step.next : [];
  });
}
