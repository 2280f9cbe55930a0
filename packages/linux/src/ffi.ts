import { createRequire } from "node:module";

/** The libc calls that this package makes, each answering 0 or the errno it failed with. */
export interface Libc {
  mount(source: string, target: string, type: string, flags: number, data: string | null): number;
  umount2(target: string, flags: number): number;
}

type KoffiCall = (...args: readonly (string | number | null)[]) => number;

/** The few members of koffi that we use; its own types describe a far larger surface. */
interface Koffi {
  load(path: null): { func(prototype: string): KoffiCall };
  errno(): number;
}

let libc: Libc | undefined | "not tried" = "not tried";

/**
 * libc through koffi, or `undefined` where that optional dependency is missing or can't be loaded. The symbols are looked up
 * in the running process itself, so no library path is guessed. Calls are synchronous.
 */
export function loadLibc(): Libc | undefined {
  if (libc === "not tried") libc = bindLibc();
  return libc;
}

/** True if system calls can be made directly; else `mount` and `unmount` run mount(8) and umount(8). */
export function ffiAvailable(): boolean {
  return loadLibc() !== undefined;
}

function bindLibc(): Libc | undefined {
  try {
    const koffi = createRequire(import.meta.url)("koffi") as Koffi;
    const process = koffi.load(null);
    const mountCall = process.func(
      "int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)",
    );
    const umountCall = process.func("int umount2(const char *target, int flags)");
    const errnoOf = (result: number): number => (result === 0 ? 0 : koffi.errno());
    return {
      mount: (source, target, type, flags, data) =>
        errnoOf(mountCall(source, target, type, flags, data)),
      umount2: (target, flags) => errnoOf(umountCall(target, flags)),
    };
  } catch {
    // Optional dependency: absent on this platform, or its binary does not load. The children mount(8) and umount(8) do.
    return undefined;
  }
}
