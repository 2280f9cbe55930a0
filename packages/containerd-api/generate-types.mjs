// Writes src/gen: the TypeScript types of proto/, one file per proto package. With --check it only says whether they are up to date.
//   npm run generate -w @soci-ts/containerd-api
// proto-loader's own generator makes two interfaces and a file for each message, with `any` in them; these are a tenth of that.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { loadSync } from "@grpc/proto-loader";
import { LOADER_OPTIONS, PROTO_FILES } from "./dist/proto-files.js";

const GEN = fileURLToPath(new URL("src/gen/", import.meta.url));
const FILES = {
  "google.protobuf": "protobuf",
  "google.rpc": "rpc",
  "containerd.types": "types",
  "containerd.v1.types": "task",
  "containerd.services.snapshots.v1": "snapshots",
  "containerd.services.content.v1": "content",
  "containerd.services.images.v1": "images",
  "containerd.services.containers.v1": "containers",
  "containerd.services.tasks.v1": "tasks",
  "containerd.services.namespaces.v1": "namespaces",
  "containerd.services.version.v1": "version",
  "containerd.services.leases.v1": "leases",
  "containerd.services.diff.v1": "diff",
  "containerd.services.introspection.v1": "introspection",
  "runtime.v1": "cri",
};
const SCALARS = {
  TYPE_STRING: "string",
  TYPE_BOOL: "boolean",
  TYPE_BYTES: "Buffer",
  TYPE_INT32: "number",
  TYPE_INT64: "number",
  TYPE_UINT32: "number",
  TYPE_UINT64: "number",
};

const definitions = loadSync(Object.values(PROTO_FILES), LOADER_OPTIONS);
// What the loader always brings along, and nothing here uses.
const used = Object.entries(definitions).filter(([name]) => fileOf(name) !== undefined);
const names = new Set(used.flatMap(([name, { type }]) => [name, ...nestedNames(name, type)]));
const texts = new Map();
for (const [name, definition] of used) {
  const text = definition.type === undefined ? service(name, definition) : named(name, definition);
  const file = fileOf(name);
  texts.set(file, [...(texts.get(file) ?? []), text]);
}

const isCheck = process.argv.includes("--check");
const stale = [];
if (!isCheck) mkdirSync(GEN, { recursive: true });
for (const [file, parts] of texts) {
  const text = withImports(file, parts.join("\n"));
  const path = `${GEN}${file}.ts`;
  if (!isCheck) writeFileSync(path, text);
  else if (readOr(path) !== text) stale.push(path);
}
if (stale.length > 0) {
  process.stderr.write(`not what proto/ says, run npm run generate: ${stale.join(", ")}\n`);
  process.exitCode = 1;
}

function fileOf(name) {
  const packageName = Object.keys(FILES)
    .sort((a, b) => b.length - a.length)
    .find((candidate) => name.startsWith(`${candidate}.`));
  return packageName === undefined ? undefined : FILES[packageName];
}

function nestedNames(name, type) {
  const nested = [...(type?.nestedType ?? []), ...(type?.enumType ?? [])];
  return nested.map((inner) => `${name}.${inner.name}`);
}

/** A name as the file that declares it spells it: nested ones joined. */
function localName(name) {
  const packageName = Object.keys(FILES)
    .sort((a, b) => b.length - a.length)
    .find((candidate) => name.startsWith(`${candidate}.`));
  return name.slice(packageName.length + 1).replaceAll(".", "");
}

function named(name, { format, type }) {
  return format.includes("Enum") ? enumeration(name, type) : message(name, type);
}

function enumeration(name, type) {
  const values = type.value.map((value) => JSON.stringify(value.name)).join(" | ");
  return `/** Enum \`${name}\`. A value that is not in it arrives as its number. */\nexport type ${localName(name)} = ${values};\n`;
}

function message(name, type) {
  const fields = type.field.map(
    (field) => `  readonly ${field.name}: ${fieldType(name, type, field)};`,
  );
  const body =
    fields.length === 0
      ? `export type ${localName(name)} = Readonly<Record<string, never>>;`
      : `export interface ${localName(name)} {\n${fields.join("\n")}\n}`;
  const inner = [
    ...type.nestedType
      .filter((nested) => !isMap(nested))
      .map((nested) => message(`${name}.${nested.name}`, nested)),
    ...type.enumType.map((nested) => enumeration(`${name}.${nested.name}`, nested)),
  ];
  return [`/** Message \`${name}\`. */\n${body}\n`, ...inner].join("\n");
}

function isMap(type) {
  return type.options?.mapEntry === true;
}

function fieldType(scope, owner, field) {
  const map = owner.nestedType.find((nested) => isMap(nested) && nested.name === field.typeName);
  if (map !== undefined) {
    const value = map.field.find(({ name }) => name === "value");
    return `Readonly<Record<string, ${valueType(scope, value)}>>`;
  }
  const type = valueType(scope, field);
  if (field.label === "LABEL_REPEATED") return `readonly ${type}[]`;
  return field.type === "TYPE_MESSAGE" ? `${type} | null` : type;
}

function valueType(scope, field) {
  if (field.typeName === "") return SCALARS[field.type];
  return reference(resolve(scope, field.typeName), fileOf(scope));
}

/** Protobuf's scoping: the innermost enclosing scope that has the name. */
function resolve(scope, typeName) {
  const parts = scope.split(".");
  for (let length = parts.length; length >= 0; length -= 1) {
    const candidate = [...parts.slice(0, length), typeName].join(".");
    if (names.has(candidate)) return candidate;
  }
  throw new Error(`Cannot resolve ${typeName} in ${scope}`);
}

function reference(name, file) {
  return fileOf(name) === file ? localName(name) : `${fileOf(name)}.${localName(name)}`;
}

function service(name, methods) {
  const lines = Object.entries(methods).map(([method, definition]) => {
    const shape = shapeOf(definition);
    const [request, response] = [definition.requestType, definition.responseType].map((type) =>
      reference(methodType(name, type.type.name), fileOf(name)),
    );
    const key = method[0].toLowerCase() + method.slice(1);
    return `  readonly ${key}: Rpc<"${shape}", ${request}, ${response}>;`;
  });
  return `/** Service \`${name}\`. */\nexport interface ${localName(name)} {\n${lines.join("\n")}\n}\n`;
}

/** Methods name their messages without a package: one of their own package, else google.protobuf.Empty. */
function methodType(service, name) {
  return name === "Empty" ? "google.protobuf.Empty" : resolve(service, name);
}

function shapeOf({ requestStream, responseStream }) {
  if (requestStream) return "duplex";
  return responseStream ? "server-stream" : "unary";
}

function withImports(file, text) {
  const imports = Object.values(FILES)
    .filter((other) => other !== file && new RegExp(`[^.\\w]${other}\\.[A-Z]`).test(text))
    .sort()
    .map((other) => `import type * as ${other} from "./${other}.ts";`);
  if (text.includes("Rpc<")) imports.unshift('import type { Rpc } from "../service.ts";');
  const head = "// Generated from proto/ by generate-types.mjs; not to be edited.\n";
  return [head + imports.map((line) => `${line}\n`).join(""), text].join("\n");
}

function readOr(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
