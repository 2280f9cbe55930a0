import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** A key and its certificate, as files and as text. */
export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: string;
  readonly key: string;
}

/** Makes a CA of its own in `folder`. Needs openssl. */
export async function makeCa(folder: string, name: string): Promise<Certificate> {
  const keyFile = join(folder, `${name}.key.pem`);
  const certFile = join(folder, `${name}.cert.pem`);
  const args = [
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-days",
    "2",
  ];
  await run("openssl", [...args, "-subj", `/CN=${name}`, "-keyout", keyFile, "-out", certFile]);
  return load(certFile, keyFile);
}

/** A certificate for `names` (`DNS:…`, `IP:…`) that `ca` signed. */
export async function makeCertificate(
  folder: string,
  ca: Certificate,
  name: string,
  names: readonly string[],
): Promise<Certificate> {
  const keyFile = join(folder, `${name}.key.pem`);
  const certFile = join(folder, `${name}.cert.pem`);
  const requestFile = join(folder, `${name}.csr.pem`);
  const extensionFile = join(folder, `${name}.ext`);
  await writeFile(extensionFile, `subjectAltName=${names.join(",")}\n`);
  const args = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  await run("openssl", [...args, "-subj", `/CN=${name}`, "-keyout", keyFile, "-out", requestFile]);
  await run("openssl", [
    "x509",
    "-req",
    "-in",
    requestFile,
    "-CA",
    ca.certFile,
    "-CAkey",
    ca.keyFile,
    "-CAcreateserial",
    "-days",
    "2",
    "-extfile",
    extensionFile,
    "-out",
    certFile,
  ]);
  return load(certFile, keyFile);
}

async function load(certFile: string, keyFile: string): Promise<Certificate> {
  const [cert, key] = await Promise.all([readFile(certFile, "utf8"), readFile(keyFile, "utf8")]);
  return { certFile, keyFile, cert, key };
}
