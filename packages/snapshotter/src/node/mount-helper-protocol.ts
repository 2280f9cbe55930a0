import type { ErrorCode, ErrorDetails, LogFields } from "@soci-ts/core";
import type { BindFlag } from "@soci-ts/linux";
import type { IdMapping } from "../contract/types.ts";
import type { ErofsLayerMount } from "../erofs-mount.ts";

/** What a helper process is asked to do: one JSON line on its standard input, and the next one after its answer. */
export type HelperRequest =
  | { readonly kind: "mountErofs"; readonly layer: ErofsLayerMount }
  | {
      readonly kind: "bind";
      readonly source: string;
      readonly target: string;
      readonly flags: readonly BindFlag[];
    }
  | { readonly kind: "unmount"; readonly target: string; readonly detach: boolean }
  | {
      readonly kind: "idMap";
      readonly source: string;
      readonly target: string;
      readonly mapping: IdMapping;
    }
  | { readonly kind: "preload"; readonly path: string };

/** What a helper process writes, a JSON line each: any number of warnings, then how the request ended. */
export type HelperMessage =
  | { readonly kind: "warning"; readonly message: string; readonly fields: LogFields }
  | { readonly kind: "done" }
  | {
      readonly kind: "failed";
      readonly code: ErrorCode;
      readonly message: string;
      readonly details: ErrorDetails;
    };

/** What a request is about, for messages: `mount "/run/x"`. */
export function describeRequest(request: HelperRequest): string {
  switch (request.kind) {
    case "mountErofs":
      return `mount layer ${request.layer.layerDigest}`;
    case "bind":
    case "idMap":
      return `mount on "${request.target}"`;
    case "unmount":
      return `unmount "${request.target}"`;
    case "preload":
      return `read "${request.path}"`;
  }
}
