/** Bounds on what a layer may ask of us while its tree is built. */
export interface LayerTreeLimits {
  /** Most files and directories, implied ones included. */
  readonly maxNodes: number;
  /** Most path components walked because of symbolic links and look-ups in the layers below. */
  readonly maxSteps: number;
}

/** Far above any real layer: the largest seen have some 500,000 files. */
export const DEFAULT_LAYER_TREE_LIMITS: LayerTreeLimits = {
  maxNodes: 4_000_000,
  maxSteps: 20_000_000,
};

/** Symbolic links followed for one path, as in containerd. */
export const MAX_LINKS_WALKED = 255;
