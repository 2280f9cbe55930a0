export { type CertsDirOptions, certsDirHosts } from "./certs-dir.ts";
export { chainCredentials, type NamedSource } from "./chain-credentials.ts";
export { RegistryClient, type RegistryClientOptions } from "./client.ts";
export { type CommandCredentialsOptions, commandCredentials } from "./credential-command.ts";
export { type CredentialFilesOptions, loadCredentials } from "./credential-files.ts";
export type { Credential, CredentialSource, FindCredentialOptions } from "./credentials.ts";
export { RegistryError, type SpecError, TransportError } from "./errors.ts";
export type {
  ClientPair,
  HostCapability,
  HostConfig,
  HostConnection,
  HostsConfig,
  HostsSource,
  HostUrl,
} from "./hosts.ts";
export type { FetchedManifest, ManifestName, PushedManifest } from "./manifests.ts";
export type { ProxySettings } from "./proxy.ts";
export type { BlobContent, PushBlobOptions, PushedBlob } from "./push-blob.ts";
export {
  type RawAnswer,
  RawRegistry,
  type RawRegistryOptions,
  type RawRequest,
} from "./raw-registry.ts";
export type { ListReferrersOptions } from "./referrers.ts";
export { referrersTag } from "./referrers-tag.ts";
export { RememberedCredentials } from "./remembered-credentials.ts";
export type { RemoteBlob } from "./remote-blob.ts";
export type { RetryPolicy } from "./retry.ts";
export type { PlainHttp } from "./scheme.ts";
export type { Timeouts } from "./transport.ts";
export { SYSTEM_CA_FILES, type TrustOptions } from "./trust.ts";
