import { type LookupAddress, type LookupOptions, lookup } from "node:dns";
import type { LookupFunction } from "node:net";

type Waiting = Parameters<LookupFunction>[2];

/**
 * Looks names up like Node's own, but each name once at a time: a look-up holds a thread of the process until the resolver gives up, and
 * with one for each connection a name server that does not answer for one registry would take the threads of all others.
 */
export function sharedLookup(resolve: typeof lookup = lookup): LookupFunction {
  const underWay = new Map<string, Waiting[]>();
  return (hostname, options, callback) => {
    const key = `${hostname} ${JSON.stringify(options)}`;
    const known = underWay.get(key);
    if (known !== undefined) {
      known.push(callback);
      return;
    }
    const waiting = [callback];
    underWay.set(key, waiting);
    const tell = (
      error: NodeJS.ErrnoException | null,
      address: string | LookupAddress[],
      family?: number,
    ): void => {
      underWay.delete(key);
      for (const each of waiting) each(error, address, family);
    };
    resolve(hostname, options as LookupOptions, tell);
  };
}
