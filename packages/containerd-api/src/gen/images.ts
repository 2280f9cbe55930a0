// Generated from proto/ by generate-types.mjs; not to be edited.
import type { Rpc } from "../service.ts";
import type * as protobuf from "./protobuf.ts";
import type * as types from "./types.ts";

/** Service `containerd.services.images.v1.Images`. */
export interface Images {
  readonly get: Rpc<"unary", GetImageRequest, GetImageResponse>;
  readonly list: Rpc<"unary", ListImagesRequest, ListImagesResponse>;
  readonly create: Rpc<"unary", CreateImageRequest, CreateImageResponse>;
  readonly update: Rpc<"unary", UpdateImageRequest, UpdateImageResponse>;
  readonly delete: Rpc<"unary", DeleteImageRequest, protobuf.Empty>;
}

/** Message `containerd.services.images.v1.Image`. */
export interface Image {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly target: types.Descriptor | null;
  readonly createdAt: protobuf.Timestamp | null;
  readonly updatedAt: protobuf.Timestamp | null;
}

/** Message `containerd.services.images.v1.GetImageRequest`. */
export interface GetImageRequest {
  readonly name: string;
}

/** Message `containerd.services.images.v1.GetImageResponse`. */
export interface GetImageResponse {
  readonly image: Image | null;
}

/** Message `containerd.services.images.v1.ListImagesRequest`. */
export interface ListImagesRequest {
  readonly filters: readonly string[];
}

/** Message `containerd.services.images.v1.ListImagesResponse`. */
export interface ListImagesResponse {
  readonly images: readonly Image[];
}

/** Message `containerd.services.images.v1.CreateImageRequest`. */
export interface CreateImageRequest {
  readonly image: Image | null;
}

/** Message `containerd.services.images.v1.CreateImageResponse`. */
export interface CreateImageResponse {
  readonly image: Image | null;
}

/** Message `containerd.services.images.v1.UpdateImageRequest`. */
export interface UpdateImageRequest {
  readonly image: Image | null;
  readonly updateMask: protobuf.FieldMask | null;
}

/** Message `containerd.services.images.v1.UpdateImageResponse`. */
export interface UpdateImageResponse {
  readonly image: Image | null;
}

/** Message `containerd.services.images.v1.DeleteImageRequest`. */
export interface DeleteImageRequest {
  readonly name: string;
  readonly sync: boolean;
}
