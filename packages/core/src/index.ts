export { type Deferred, deferred } from "./async/deferred.ts";
export { delay } from "./async/delay.ts";
export { DisposeStack } from "./async/dispose-stack.ts";
export { Semaphore } from "./async/semaphore.ts";
export { abortable, SingleFlight } from "./async/single-flight.ts";
export {
  type ByteSource,
  bytesSource,
  checkRange,
  type IoOptions,
  type ReadOptions,
} from "./byte-source.ts";
export {
  type ByteString,
  byteStringBytes,
  byteStringFrom,
  byteStringFromText,
  compareByteStrings,
  displayByteString,
} from "./bytes/byte-string.ts";
export { concatBytes } from "./bytes/concat.ts";
export { roundUp, safeNumber } from "./bytes/numbers.ts";
export {
  type Digest,
  type DigestAlgorithm,
  Digester,
  digestAlgorithm,
  digestHex,
  digestOf,
  isDigest,
  parseDigest,
  sha256,
  verifyDigest,
} from "./digest.ts";
export {
  AppError,
  type AppErrorOptions,
  DigestMismatchError,
  type ErrorCode,
  type ErrorDetails,
  FormatError,
} from "./errors.ts";
export { Glob } from "./glob.ts";
export {
  type LogFields,
  type Logger,
  type MetricLabels,
  type Metrics,
  silentLogger,
  silentMetrics,
} from "./log.ts";
