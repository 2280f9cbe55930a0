import { checkCredentials } from "../doctor/credentials.ts";
import { checkDoor } from "../doctor/door.ts";
import type { Finding } from "../doctor/finding.ts";
import { checkKernel } from "../doctor/kernel.ts";
import { checkRegistry } from "../doctor/registry.ts";
import { checkStore } from "../doctor/store.ts";
import { checkCas } from "../doctor/trust.ts";
import type { Report } from "../output.ts";
import type { Session } from "../wire.ts";

/** `soci doctor [REF]`: each thing that the commands need, and how to get it. Fails only if something essential is missing. */
export async function doctor(session: Session, name: string | undefined): Promise<Report> {
  const { config } = session;
  const findings: Finding[] = [
    { check: "Node.js", state: "ok", found: `${process.version} on ${process.arch}` },
    ...checkKernel(config.isRoot),
    ...(await checkCas(config)),
    ...(await checkCredentials(config.credentialFiles)),
    ...(await checkStore(session)),
    ...(await checkDoor(session)),
    ...(name === undefined ? [] : await checkRegistry(session, name)),
  ];
  const failed = findings.some(({ state }) => state === "fail");
  return {
    json: { healthy: !failed, findings },
    text: findings.map(render).join("\n"),
    ...(failed ? { failed: "failed_precondition" } : {}),
  };
}

function render({ check, state, found, fix }: Finding): string {
  const line = `${state.padEnd(4)}  ${check}: ${found}`;
  return fix === undefined ? line : `${line}\n      fix: ${fix}`;
}
