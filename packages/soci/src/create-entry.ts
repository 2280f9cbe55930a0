// What making an index takes: the whole package brings all that is done with one, and takes twice the time to load.
export {
  type CreatedIndex,
  type CreatedLayer,
  type CreateIndexOptions,
  createIndex,
  type LayerProgress,
} from "./create-index.ts";
