import { headerOf, type RegistryRequest } from "../http.ts";

/** True if the client says that it has the content already (`If-None-Match`, RFC 9110 §13.1.2, weak comparison). */
export function hasAlready(request: RegistryRequest, etag: string): boolean {
  const items = headerOf(request, "if-none-match")?.split(",") ?? [];
  return items
    .map((item) => item.trim().replace(/^W\//, ""))
    .some((item) => item === etag || item === "*");
}
