/** What a node's containerd is told. */
export interface ContainerdConfig {
  /** Folder that holds all it writes. */
  readonly root: string;
  readonly socket: string;
  /** Folder of `hosts.toml` files. */
  readonly registryConfig: string;
  readonly sandboxImage: string;
  /** Which snapshotter CRI uses. */
  readonly snapshotter: string;
  /** Socket of the snapshotter, if it is a process of its own, and its root folder. */
  readonly proxy?: { readonly socket: string; readonly root: string } | undefined;
}

const CRI = 'plugins."io.containerd.grpc.v1.cri"';
const IMAGES = 'plugins."io.containerd.cri.v1.images"';
const RUNTIME = 'plugins."io.containerd.cri.v1.runtime"';
/** Where root has no CAP_SYS_RESOURCE, a sandbox can't lower its score. */
const RESTRICT_OOM_SCORE = "  restrict_oom_score_adj = true";

/** Config of a containerd 1.6 or 1.7, with CRI and no network of its own. */
export function containerdConfig1(config: ContainerdConfig): string {
  return [
    "version = 2",
    ...commonLines(config),
    `[${CRI}]`,
    `  sandbox_image = ${quote(config.sandboxImage)}`,
    '  stream_server_port = "0"',
    RESTRICT_OOM_SCORE,
    `[${CRI}.containerd]`,
    `  snapshotter = ${quote(config.snapshotter)}`,
    "  disable_snapshot_annotations = false",
    `[${CRI}.containerd.runtimes.runc]`,
    '  runtime_type = "io.containerd.runc.v2"',
    `[${CRI}.registry]`,
    `  config_path = ${quote(config.registryConfig)}`,
    "",
  ].join("\n");
}

/** Config of a containerd 2.x. It pulls through its transfer service, which has to be told of the snapshotter too. */
export function containerdConfig2(config: ContainerdConfig): string {
  return [
    "version = 3",
    ...commonLines(config),
    `[${IMAGES}]`,
    `  snapshotter = ${quote(config.snapshotter)}`,
    "  disable_snapshot_annotations = false",
    `[${IMAGES}.pinned_images]`,
    `  sandbox = ${quote(config.sandboxImage)}`,
    `[${IMAGES}.registry]`,
    `  config_path = ${quote(config.registryConfig)}`,
    `[${RUNTIME}]`,
    RESTRICT_OOM_SCORE,
    `[${RUNTIME}.containerd.runtimes.runc]`,
    '  runtime_type = "io.containerd.runc.v2"',
    '[[plugins."io.containerd.transfer.v1.local".unpack_config]]',
    `  platform = "linux/${process.arch === "x64" ? "amd64" : process.arch}"`,
    `  snapshotter = ${quote(config.snapshotter)}`,
    '[plugins."io.containerd.transfer.v1.local"]',
    `  config_path = ${quote(config.registryConfig)}`,
    "",
  ].join("\n");
}

function commonLines({ root, socket, snapshotter, proxy }: ContainerdConfig): string[] {
  const lines = [
    `root = ${quote(`${root}/root`)}`,
    `state = ${quote(`${root}/state`)}`,
    "[grpc]",
    `  address = ${quote(socket)}`,
    '[plugins."io.containerd.internal.v1.opt"]',
    `  path = ${quote(`${root}/opt`)}`,
  ];
  if (proxy === undefined) return lines;
  return [
    ...lines,
    `[proxy_plugins.${snapshotter}]`,
    '  type = "snapshot"',
    `  address = ${quote(proxy.socket)}`,
    '  capabilities = ["remap-ids"]',
    `[proxy_plugins.${snapshotter}.exports]`,
    `  root = ${quote(proxy.root)}`,
    '  enable_remote_snapshot_annotations = "true"',
  ];
}

function quote(text: string): string {
  return JSON.stringify(text);
}
