import type { Redactor } from "./redact.ts";

/** The value of an Authorization header for a name and password (RFC 7617, in UTF-8). */
export function basicHeader(
  credential: { readonly username: string; readonly password: string },
  redactor: Redactor,
): string {
  const packed = Buffer.from(`${credential.username}:${credential.password}`).toString("base64");
  redactor.add(packed);
  return `Basic ${packed}`;
}
