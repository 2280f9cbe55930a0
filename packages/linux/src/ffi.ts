import { createRequire } from "node:module";
import { constants } from "node:os";

/** What a system call answered: a value, and errno 0; or the errno it failed with. */
export interface CallResult {
  readonly value: number;
  readonly errno: number;
}

/** The libc calls that this package makes. `mount` and `umount2` answer 0 or the errno they failed with. */
export interface Libc {
  mount(source: string, target: string, type: string, flags: number, data: string | null): number;
  umount2(target: string, flags: number): number;
  /** ioctl(2) whose argument is a number, or a struct that the kernel reads. */
  ioctl(fd: number, request: number, argument: number | Uint8Array): CallResult;
  /** open_tree(2); the value is a descriptor. */
  openTree(path: string, flags: number): CallResult;
  /** move_mount(2) of a descriptor to a path. */
  moveMount(fd: number, target: string, flags: number): CallResult;
  /** posix_fadvise(3), in libuv's pool; resolves to its errno. */
  fadvise(fd: number, offset: number, length: number, advice: number): Promise<number>;
  /** sync_file_range(2), in libuv's pool. Answers 0 or the errno it failed with. */
  syncFileRange(fd: number, offset: number, length: number, flags: number): Promise<number>;
  /** mount_setattr(2) on a descriptor; `attributes` is a `struct mount_attr`. */
  mountSetattr(fd: number, flags: number, attributes: Uint8Array): CallResult;
  /** mmap(2) of the first bytes of a file, shared, to read and write, for the life of the process; or the errno that it failed with. */
  mapShared(fd: number, sizeBytes: number): Uint8Array | number;
  /** sched_setscheduler(2) of the calling thread. Answers 0 or the errno it failed with. */
  setScheduler(policy: number, priority: number): number;
  /** fallocate(2), in libuv's pool: it may wait for the disk. Answers 0 or the errno it failed with. */
  fallocate(fd: number, mode: number, offset: number, length: number): Promise<number>;
}

type KoffiValue = string | number | null | Uint8Array;
/** Integers come as numbers, pointers as bigints. */
type KoffiCall = (...args: readonly KoffiValue[]) => number | bigint;
/** Calls in libuv's pool; the callback is the last argument. */
type KoffiAsyncCall = (
  ...args: readonly [...KoffiValue[], (error: Error | null, value: number) => void]
) => void;

/** The few members of koffi that we use; its own types describe a far larger surface. */
interface Koffi {
  load(path: null): { func(prototype: string): KoffiCall & { readonly async: KoffiAsyncCall } };
  errno(): number;
  view(pointer: bigint, sizeBytes: number): ArrayBuffer;
}

/** Numbers of system calls that libc may have no name for: the same on every architecture that Node runs on. */
const SYS_OPEN_TREE = 428;
const SYS_MOVE_MOUNT = 429;
const SYS_MOUNT_SETATTR = 442;

/** `AT_FDCWD`: a path as it is. */
const AT_FDCWD = -100;

/** `PROT_READ | PROT_WRITE`, `MAP_SHARED | MAP_POPULATE`, and what mmap(2) returns when it fails. */
const READ_AND_WRITE = 3;
const SHARED_AND_PRESENT = 0x8001;
const MAP_FAILED = 2n ** 64n - 1n;

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
    return bindCalls(createRequire(import.meta.url)("koffi") as Koffi);
  } catch {
    // Optional dependency: absent on this platform, or its binary does not load. The children mount(8) and umount(8) do.
    return undefined;
  }
}

function bindCalls(koffi: Koffi): Libc {
  const process = koffi.load(null);
  const bind = (prototype: string): ((...args: readonly KoffiValue[]) => CallResult) => {
    const call = process.func(prototype);
    return (...args) => {
      for (;;) {
        const value = Number(call(...args));
        const errno = value < 0 ? koffi.errno() : 0;
        // A lookup in a FUSE file system gives up when a signal comes, such as that of a child's end. Nothing has been done then.
        if (errno !== constants.errno.EINTR) return { value, errno };
      }
    };
  };
  // A call's errno is there as long as its callback runs.
  const errnoOf = (value: number): number => (value < 0 ? koffi.errno() : 0);
  const mount = bind(
    "int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)",
  );
  const umount2 = bind("int umount2(const char *target, int flags)");
  const ioctlNumber = bind("int ioctl(int fd, unsigned long request, unsigned long argument)");
  const ioctlStruct = bind("int ioctl(int fd, unsigned long request, const void *argument)");
  const openTree = bind("long syscall(long number, int at, const char *path, unsigned int flags)");
  const moveMount = bind(
    "long syscall(long number, int fd, const char *from, int at, const char *to, unsigned int flags)",
  );
  const mountSetattr = bind(
    "long syscall(long number, int fd, const char *path, unsigned int flags, const void *attributes, size_t size)",
  );
  const setScheduler = bind(
    "int sched_setscheduler(int thread, int policy, const void *parameters)",
  );
  const mmap = process.func(
    "void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)",
  );
  // Node runs on 64 bits only, where `off_t` is this.
  const fadvise = process.func(
    "int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)",
  );
  const syncFileRange = process.func(
    "int sync_file_range(int fd, int64_t offset, int64_t length, unsigned int flags)",
  );
  const fallocate = process.func("int fallocate(int fd, int mode, int64_t offset, int64_t length)");
  return {
    fadvise: inPool(fadvise, (value) => value),
    syncFileRange: inPool(syncFileRange, errnoOf),
    mapShared: (fd, sizeBytes) => {
      const pointer = mmap(null, sizeBytes, READ_AND_WRITE, SHARED_AND_PRESENT, fd, 0);
      const isMapped = typeof pointer === "bigint" && pointer !== MAP_FAILED;
      return isMapped ? new Uint8Array(koffi.view(pointer, sizeBytes)) : koffi.errno();
    },
    fallocate: inPool(fallocate, errnoOf),
    setScheduler: (policy, priority) =>
      setScheduler(0, policy, new Uint8Array(Int32Array.of(priority).buffer)).errno,
    mount: (...args) => mount(...args).errno,
    umount2: (...args) => umount2(...args).errno,
    ioctl: (fd, request, argument) =>
      typeof argument === "number"
        ? ioctlNumber(fd, request, argument)
        : ioctlStruct(fd, request, argument),
    openTree: (path, flags) => openTree(SYS_OPEN_TREE, AT_FDCWD, path, flags),
    moveMount: (fd, target, flags) => moveMount(SYS_MOVE_MOUNT, fd, "", AT_FDCWD, target, flags),
    mountSetattr: (fd, flags, attributes) =>
      mountSetattr(SYS_MOUNT_SETATTR, fd, "", flags, attributes, attributes.length),
  };
}

/** The call in libuv's pool; `read` makes its result of what it returned, before anything else is called. */
function inPool(
  { async: call }: { readonly async: KoffiAsyncCall },
  read: (value: number) => number,
): (...args: readonly KoffiValue[]) => Promise<number> {
  return (...args) =>
    new Promise((resolve, reject) => {
      call(...args, (error, value) => {
        if (error === null) resolve(read(value));
        else reject(error);
      });
    });
}
