/** The names under which Docker's tools file Docker Hub's credentials. */
const DOCKER_HUB_NAMES: readonly string[] = [
  "docker.io",
  "index.docker.io",
  "registry-1.docker.io",
];
const DOCKER_HUB_HELPER_KEY = "https://index.docker.io/v1/";

/** All names under which a registry's credentials may be filed. */
export function hostNames(registry: string): readonly string[] {
  return DOCKER_HUB_NAMES.includes(registry) ? DOCKER_HUB_NAMES : [registry];
}

/** What a credential helper is asked for. */
export function helperServer(registry: string): string {
  return DOCKER_HUB_NAMES.includes(registry) ? DOCKER_HUB_HELPER_KEY : registry;
}
