import { FormatError } from "@soci-ts/core";
import type { SpanRange } from "@soci-ts/layer-index";
import { goJson, parseJson } from "@soci-ts/oci";
import { MAX_PREFETCH_LIST_BYTES, MAX_PREFETCH_RANGES, MAX_SPAN_NUMBER } from "./limits.ts";

const VERSION = "1.0";
const FORMAT = "prefetch list";

/** The bytes of a prefetch list that names these spans, as the reference writes them: sorted, and one range where ranges touch. */
export function encodePrefetchList(ranges: readonly SpanRange[]): Uint8Array {
  return goJson({
    version: VERSION,
    prefetch_spans: mergeSpanRanges(ranges).map(({ startSpan, endSpan }) => ({
      start_span: startSpan,
      end_span: endSpan,
    })),
  });
}

/**
 * The spans that a prefetch list names, sorted, each once. A priority is passed over, as the reference does. Whether the layer has
 * spans of these numbers is not known here.
 * @throws FormatError if it is larger than the limits, of another version, empty, or names what can't be a range.
 */
export function parsePrefetchList(bytes: Uint8Array): readonly SpanRange[] {
  const root = parseJson(bytes, FORMAT, MAX_PREFETCH_LIST_BYTES);
  const version = root.required("version").string();
  if (version !== VERSION) {
    throw new FormatError(FORMAT, 0, `version ${JSON.stringify(version.slice(0, 40))}, want 1.0`);
  }
  const items = root.required("prefetch_spans").array(MAX_PREFETCH_RANGES);
  if (items.length === 0) throw new FormatError(FORMAT, 0, "it names no spans, want one");
  return mergeSpanRanges(
    items.map((item) => {
      // Go leaves a number out of the text only if it is told to, and takes one that is missing for 0.
      const startSpan = item.optional("start_span")?.size() ?? 0;
      const endSpan = item.optional("end_span")?.size() ?? 0;
      if (startSpan <= endSpan && endSpan <= MAX_SPAN_NUMBER) return { startSpan, endSpan };
      return item.fail(`is from ${startSpan} to ${endSpan}, want a range of span numbers`);
    }),
  );
}

function mergeSpanRanges(ranges: readonly SpanRange[]): readonly SpanRange[] {
  const merged: SpanRange[] = [];
  const sorted = [...ranges].sort((a, b) => a.startSpan - b.startSpan || a.endSpan - b.endSpan);
  for (const range of sorted) {
    const last = merged.at(-1);
    if (last === undefined || range.startSpan > last.endSpan + 1) merged.push(range);
    else if (range.endSpan > last.endSpan) {
      merged[merged.length - 1] = { startSpan: last.startSpan, endSpan: range.endSpan };
    }
  }
  return merged;
}
