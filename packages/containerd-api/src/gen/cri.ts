// Generated from proto/ by generate-types.mjs; not to be edited.
import type { Rpc } from "../service.ts";

/** Service `runtime.v1.ImageService`. */
export interface ImageService {
  readonly listImages: Rpc<"unary", ListImagesRequest, ListImagesResponse>;
  readonly streamImages: Rpc<"server-stream", StreamImagesRequest, StreamImagesResponse>;
  readonly imageStatus: Rpc<"unary", ImageStatusRequest, ImageStatusResponse>;
  readonly pullImage: Rpc<"unary", PullImageRequest, PullImageResponse>;
  readonly removeImage: Rpc<"unary", RemoveImageRequest, RemoveImageResponse>;
  readonly imageFsInfo: Rpc<"unary", ImageFsInfoRequest, ImageFsInfoResponse>;
}

/** Message `runtime.v1.ImageFilter`. */
export interface ImageFilter {
  readonly image: ImageSpec | null;
}

/** Message `runtime.v1.ListImagesRequest`. */
export interface ListImagesRequest {
  readonly filter: ImageFilter | null;
}

/** Message `runtime.v1.Image`. */
export interface Image {
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  readonly size: number;
  readonly uid: Int64Value | null;
  readonly username: string;
  readonly spec: ImageSpec | null;
  readonly pinned: boolean;
}

/** Message `runtime.v1.ListImagesResponse`. */
export interface ListImagesResponse {
  readonly images: readonly Image[];
}

/** Message `runtime.v1.StreamImagesRequest`. */
export interface StreamImagesRequest {
  readonly filter: ImageFilter | null;
}

/** Message `runtime.v1.StreamImagesResponse`. */
export interface StreamImagesResponse {
  readonly images: readonly Image[];
}

/** Message `runtime.v1.ImageStatusRequest`. */
export interface ImageStatusRequest {
  readonly image: ImageSpec | null;
  readonly verbose: boolean;
}

/** Message `runtime.v1.ImageStatusResponse`. */
export interface ImageStatusResponse {
  readonly image: Image | null;
  readonly info: Readonly<Record<string, string>>;
}

/** Message `runtime.v1.AuthConfig`. */
export interface AuthConfig {
  readonly username: string;
  readonly password: string;
  readonly auth: string;
  readonly serverAddress: string;
  readonly identityToken: string;
  readonly registryToken: string;
}

/** Message `runtime.v1.PullImageRequest`. */
export interface PullImageRequest {
  readonly image: ImageSpec | null;
  readonly auth: AuthConfig | null;
  readonly sandboxConfig: PodSandboxConfig | null;
}

/** Message `runtime.v1.PullImageResponse`. */
export interface PullImageResponse {
  readonly imageRef: string;
}

/** Message `runtime.v1.RemoveImageRequest`. */
export interface RemoveImageRequest {
  readonly image: ImageSpec | null;
}

/** Message `runtime.v1.RemoveImageResponse`. */
export type RemoveImageResponse = Readonly<Record<string, never>>;

/** Message `runtime.v1.ImageFsInfoRequest`. */
export type ImageFsInfoRequest = Readonly<Record<string, never>>;

/** Message `runtime.v1.UInt64Value`. */
export interface UInt64Value {
  readonly value: number;
}

/** Message `runtime.v1.FilesystemIdentifier`. */
export interface FilesystemIdentifier {
  readonly mountpoint: string;
}

/** Message `runtime.v1.FilesystemUsage`. */
export interface FilesystemUsage {
  readonly timestamp: number;
  readonly fsId: FilesystemIdentifier | null;
  readonly usedBytes: UInt64Value | null;
  readonly inodesUsed: UInt64Value | null;
}

/** Message `runtime.v1.ImageFsInfoResponse`. */
export interface ImageFsInfoResponse {
  readonly imageFilesystems: readonly FilesystemUsage[];
  readonly containerFilesystems: readonly FilesystemUsage[];
}

/** Message `runtime.v1.Int64Value`. */
export interface Int64Value {
  readonly value: number;
}

/** Message `runtime.v1.ImageSpec`. */
export interface ImageSpec {
  readonly image: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly userSpecifiedImage: string;
  readonly runtimeHandler: string;
  readonly imageRef: string;
}

/** Message `runtime.v1.PodSandboxMetadata`. */
export interface PodSandboxMetadata {
  readonly name: string;
  readonly uid: string;
  readonly namespace: string;
  readonly attempt: number;
}

/** Message `runtime.v1.DNSConfig`. */
export interface DNSConfig {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

/** Message `runtime.v1.PodSandboxConfig`. */
export interface PodSandboxConfig {
  readonly metadata: PodSandboxMetadata | null;
  readonly hostname: string;
  readonly logDirectory: string;
  readonly dnsConfig: DNSConfig | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly linux: LinuxPodSandboxConfig | null;
}

/** Message `runtime.v1.LinuxPodSandboxConfig`. */
export interface LinuxPodSandboxConfig {
  readonly cgroupParent: string;
  readonly securityContext: LinuxSandboxSecurityContext | null;
  readonly sysctls: Readonly<Record<string, string>>;
}

/** Enum `runtime.v1.NamespaceMode`. A value that is not in it arrives as its number. */
export type NamespaceMode = "POD" | "CONTAINER" | "NODE" | "TARGET";

/** Message `runtime.v1.IDMapping`. */
export interface IDMapping {
  readonly hostId: number;
  readonly containerId: number;
  readonly length: number;
}

/** Message `runtime.v1.UserNamespace`. */
export interface UserNamespace {
  readonly mode: NamespaceMode;
  readonly uids: readonly IDMapping[];
  readonly gids: readonly IDMapping[];
}

/** Message `runtime.v1.NamespaceOption`. */
export interface NamespaceOption {
  readonly network: NamespaceMode;
  readonly pid: NamespaceMode;
  readonly ipc: NamespaceMode;
  readonly targetId: string;
  readonly usernsOptions: UserNamespace | null;
}

/** Message `runtime.v1.SELinuxOption`. */
export interface SELinuxOption {
  readonly user: string;
  readonly role: string;
  readonly type: string;
  readonly level: string;
}

/** Message `runtime.v1.SecurityProfile`. */
export interface SecurityProfile {
  readonly profileType: SecurityProfileProfileType;
  readonly localhostRef: string;
}

/** Enum `runtime.v1.SecurityProfile.ProfileType`. A value that is not in it arrives as its number. */
export type SecurityProfileProfileType = "RuntimeDefault" | "Unconfined" | "Localhost";

/** Message `runtime.v1.LinuxSandboxSecurityContext`. */
export interface LinuxSandboxSecurityContext {
  readonly namespaceOptions: NamespaceOption | null;
  readonly selinuxOptions: SELinuxOption | null;
  readonly runAsUser: Int64Value | null;
  readonly readonlyRootfs: boolean;
  readonly supplementalGroups: readonly number[];
  readonly privileged: boolean;
  readonly runAsGroup: Int64Value | null;
  readonly seccomp: SecurityProfile | null;
  readonly apparmor: SecurityProfile | null;
}

/** Service `runtime.v1.RuntimeService`. */
export interface RuntimeService {
  readonly version: Rpc<"unary", VersionRequest, VersionResponse>;
  readonly runPodSandbox: Rpc<"unary", RunPodSandboxRequest, RunPodSandboxResponse>;
  readonly stopPodSandbox: Rpc<"unary", StopPodSandboxRequest, StopPodSandboxResponse>;
  readonly removePodSandbox: Rpc<"unary", RemovePodSandboxRequest, RemovePodSandboxResponse>;
  readonly listPodSandbox: Rpc<"unary", ListPodSandboxRequest, ListPodSandboxResponse>;
  readonly createContainer: Rpc<"unary", CreateContainerRequest, CreateContainerResponse>;
  readonly startContainer: Rpc<"unary", StartContainerRequest, StartContainerResponse>;
  readonly stopContainer: Rpc<"unary", StopContainerRequest, StopContainerResponse>;
  readonly removeContainer: Rpc<"unary", RemoveContainerRequest, RemoveContainerResponse>;
  readonly listContainers: Rpc<"unary", ListContainersRequest, ListContainersResponse>;
  readonly containerStatus: Rpc<"unary", ContainerStatusRequest, ContainerStatusResponse>;
  readonly execSync: Rpc<"unary", ExecSyncRequest, ExecSyncResponse>;
  readonly status: Rpc<"unary", StatusRequest, StatusResponse>;
}

/** Message `runtime.v1.VersionRequest`. */
export interface VersionRequest {
  readonly version: string;
}

/** Message `runtime.v1.VersionResponse`. */
export interface VersionResponse {
  readonly version: string;
  readonly runtimeName: string;
  readonly runtimeVersion: string;
  readonly runtimeApiVersion: string;
}

/** Message `runtime.v1.RunPodSandboxRequest`. */
export interface RunPodSandboxRequest {
  readonly config: PodSandboxConfig | null;
  readonly runtimeHandler: string;
}

/** Message `runtime.v1.RunPodSandboxResponse`. */
export interface RunPodSandboxResponse {
  readonly podSandboxId: string;
}

/** Message `runtime.v1.StopPodSandboxRequest`. */
export interface StopPodSandboxRequest {
  readonly podSandboxId: string;
}

/** Message `runtime.v1.StopPodSandboxResponse`. */
export type StopPodSandboxResponse = Readonly<Record<string, never>>;

/** Message `runtime.v1.RemovePodSandboxRequest`. */
export interface RemovePodSandboxRequest {
  readonly podSandboxId: string;
}

/** Message `runtime.v1.RemovePodSandboxResponse`. */
export type RemovePodSandboxResponse = Readonly<Record<string, never>>;

/** Enum `runtime.v1.PodSandboxState`. A value that is not in it arrives as its number. */
export type PodSandboxState = "SANDBOX_READY" | "SANDBOX_NOTREADY";

/** Message `runtime.v1.PodSandboxStateValue`. */
export interface PodSandboxStateValue {
  readonly state: PodSandboxState;
}

/** Message `runtime.v1.PodSandboxFilter`. */
export interface PodSandboxFilter {
  readonly id: string;
  readonly state: PodSandboxStateValue | null;
  readonly labelSelector: Readonly<Record<string, string>>;
}

/** Message `runtime.v1.ListPodSandboxRequest`. */
export interface ListPodSandboxRequest {
  readonly filter: PodSandboxFilter | null;
}

/** Message `runtime.v1.PodSandbox`. */
export interface PodSandbox {
  readonly id: string;
  readonly metadata: PodSandboxMetadata | null;
  readonly state: PodSandboxState;
  readonly createdAt: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly runtimeHandler: string;
}

/** Message `runtime.v1.ListPodSandboxResponse`. */
export interface ListPodSandboxResponse {
  readonly items: readonly PodSandbox[];
}

/** Message `runtime.v1.KeyValue`. */
export interface KeyValue {
  readonly key: string;
  readonly value: Buffer;
}

/** Enum `runtime.v1.MountPropagation`. A value that is not in it arrives as its number. */
export type MountPropagation = "PROPAGATION_PRIVATE" | "PROPAGATION_HOST_TO_CONTAINER" | "PROPAGATION_BIDIRECTIONAL";

/** Message `runtime.v1.Mount`. */
export interface Mount {
  readonly containerPath: string;
  readonly hostPath: string;
  readonly readonly: boolean;
  readonly selinuxRelabel: boolean;
  readonly propagation: MountPropagation;
  readonly uidMappings: readonly IDMapping[];
  readonly gidMappings: readonly IDMapping[];
  readonly recursiveReadOnly: boolean;
}

/** Message `runtime.v1.LinuxContainerResources`. */
export interface LinuxContainerResources {
  readonly cpuPeriod: number;
  readonly cpuQuota: number;
  readonly cpuShares: number;
  readonly memoryLimitInBytes: number;
  readonly oomScoreAdj: number;
  readonly cpusetCpus: string;
  readonly cpusetMems: string;
}

/** Message `runtime.v1.Capability`. */
export interface Capability {
  readonly addCapabilities: readonly string[];
  readonly dropCapabilities: readonly string[];
}

/** Message `runtime.v1.LinuxContainerSecurityContext`. */
export interface LinuxContainerSecurityContext {
  readonly capabilities: Capability | null;
  readonly privileged: boolean;
  readonly namespaceOptions: NamespaceOption | null;
  readonly selinuxOptions: SELinuxOption | null;
  readonly runAsUser: Int64Value | null;
  readonly runAsUsername: string;
  readonly readonlyRootfs: boolean;
  readonly supplementalGroups: readonly number[];
  readonly noNewPrivs: boolean;
  readonly runAsGroup: Int64Value | null;
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
  readonly seccomp: SecurityProfile | null;
  readonly apparmor: SecurityProfile | null;
}

/** Message `runtime.v1.LinuxContainerConfig`. */
export interface LinuxContainerConfig {
  readonly resources: LinuxContainerResources | null;
  readonly securityContext: LinuxContainerSecurityContext | null;
}

/** Message `runtime.v1.ContainerMetadata`. */
export interface ContainerMetadata {
  readonly name: string;
  readonly attempt: number;
}

/** Message `runtime.v1.ContainerConfig`. */
export interface ContainerConfig {
  readonly metadata: ContainerMetadata | null;
  readonly image: ImageSpec | null;
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly workingDir: string;
  readonly envs: readonly KeyValue[];
  readonly mounts: readonly Mount[];
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly logPath: string;
  readonly stdin: boolean;
  readonly stdinOnce: boolean;
  readonly tty: boolean;
  readonly linux: LinuxContainerConfig | null;
}

/** Message `runtime.v1.CreateContainerRequest`. */
export interface CreateContainerRequest {
  readonly podSandboxId: string;
  readonly config: ContainerConfig | null;
  readonly sandboxConfig: PodSandboxConfig | null;
}

/** Message `runtime.v1.CreateContainerResponse`. */
export interface CreateContainerResponse {
  readonly containerId: string;
}

/** Message `runtime.v1.StartContainerRequest`. */
export interface StartContainerRequest {
  readonly containerId: string;
}

/** Message `runtime.v1.StartContainerResponse`. */
export type StartContainerResponse = Readonly<Record<string, never>>;

/** Message `runtime.v1.StopContainerRequest`. */
export interface StopContainerRequest {
  readonly containerId: string;
  readonly timeout: number;
}

/** Message `runtime.v1.StopContainerResponse`. */
export type StopContainerResponse = Readonly<Record<string, never>>;

/** Message `runtime.v1.RemoveContainerRequest`. */
export interface RemoveContainerRequest {
  readonly containerId: string;
}

/** Message `runtime.v1.RemoveContainerResponse`. */
export type RemoveContainerResponse = Readonly<Record<string, never>>;

/** Enum `runtime.v1.ContainerState`. A value that is not in it arrives as its number. */
export type ContainerState = "CONTAINER_CREATED" | "CONTAINER_RUNNING" | "CONTAINER_EXITED" | "CONTAINER_UNKNOWN";

/** Message `runtime.v1.ContainerStateValue`. */
export interface ContainerStateValue {
  readonly state: ContainerState;
}

/** Message `runtime.v1.ContainerFilter`. */
export interface ContainerFilter {
  readonly id: string;
  readonly state: ContainerStateValue | null;
  readonly podSandboxId: string;
  readonly labelSelector: Readonly<Record<string, string>>;
}

/** Message `runtime.v1.ListContainersRequest`. */
export interface ListContainersRequest {
  readonly filter: ContainerFilter | null;
}

/** Message `runtime.v1.Container`. */
export interface Container {
  readonly id: string;
  readonly podSandboxId: string;
  readonly metadata: ContainerMetadata | null;
  readonly image: ImageSpec | null;
  readonly imageRef: string;
  readonly state: ContainerState;
  readonly createdAt: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Message `runtime.v1.ListContainersResponse`. */
export interface ListContainersResponse {
  readonly containers: readonly Container[];
}

/** Message `runtime.v1.ContainerStatusRequest`. */
export interface ContainerStatusRequest {
  readonly containerId: string;
  readonly verbose: boolean;
}

/** Message `runtime.v1.ContainerStatus`. */
export interface ContainerStatus {
  readonly id: string;
  readonly metadata: ContainerMetadata | null;
  readonly state: ContainerState;
  readonly createdAt: number;
  readonly startedAt: number;
  readonly finishedAt: number;
  readonly exitCode: number;
  readonly image: ImageSpec | null;
  readonly imageRef: string;
  readonly reason: string;
  readonly message: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly mounts: readonly Mount[];
  readonly logPath: string;
}

/** Message `runtime.v1.ContainerStatusResponse`. */
export interface ContainerStatusResponse {
  readonly status: ContainerStatus | null;
  readonly info: Readonly<Record<string, string>>;
}

/** Message `runtime.v1.ExecSyncRequest`. */
export interface ExecSyncRequest {
  readonly containerId: string;
  readonly cmd: readonly string[];
  readonly timeout: number;
}

/** Message `runtime.v1.ExecSyncResponse`. */
export interface ExecSyncResponse {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly exitCode: number;
}

/** Message `runtime.v1.StatusRequest`. */
export interface StatusRequest {
  readonly verbose: boolean;
}

/** Message `runtime.v1.RuntimeCondition`. */
export interface RuntimeCondition {
  readonly type: string;
  readonly status: boolean;
  readonly reason: string;
  readonly message: string;
}

/** Message `runtime.v1.RuntimeStatus`. */
export interface RuntimeStatus {
  readonly conditions: readonly RuntimeCondition[];
}

/** Message `runtime.v1.RuntimeHandlerFeatures`. */
export interface RuntimeHandlerFeatures {
  readonly recursiveReadOnlyMounts: boolean;
  readonly userNamespaces: boolean;
}

/** Message `runtime.v1.RuntimeHandler`. */
export interface RuntimeHandler {
  readonly name: string;
  readonly features: RuntimeHandlerFeatures | null;
}

/** Message `runtime.v1.StatusResponse`. */
export interface StatusResponse {
  readonly status: RuntimeStatus | null;
  readonly info: Readonly<Record<string, string>>;
  readonly runtimeHandlers: readonly RuntimeHandler[];
}
