import { SpecError } from "../spec-error.ts";

/** Who asks is not known, or says something wrong of himself. */
export function unauthorized(message: string): SpecError {
  return new SpecError("UNAUTHORIZED", message);
}

/** Who asks is known, and may not. Says the same whether what he asks for exists or not. */
export function denied(): SpecError {
  return new SpecError("DENIED", "Cannot do this: the access is denied");
}

/** Too much for now; the client may come back after `waitMs`. */
export function tooManyRequests(why: string, waitMs: number): SpecError {
  return new SpecError("TOOMANYREQUESTS", `Cannot answer now: ${why}`, {
    headers: { "Retry-After": String(Math.max(1, Math.ceil(waitMs / 1000))) },
  });
}
