import type { Route } from "../route.ts";
import type { Action } from "./rules.ts";

/** What a request has to be allowed: an action on a repository, or only to be known (`/v2/`). */
export type Need =
  | { readonly kind: "login" }
  | { readonly kind: "action"; readonly repository: string; readonly action: Action };

/** What the request needs. A method that the path does not have needs what reading it needs: refusing it is the handler's. */
export function needOf(route: Route, method: string): Need {
  switch (route.kind) {
    case "base":
      return { kind: "login" };
    case "uploads":
    case "upload":
      return { kind: "action", repository: route.repository, action: "push" };
    case "blob":
    case "manifest":
    case "tags":
    case "referrers":
      return { kind: "action", repository: route.repository, action: actionOf(method) };
  }
}

function actionOf(method: string): Action {
  if (method === "DELETE") return "delete";
  return method === "PUT" || method === "POST" || method === "PATCH" ? "push" : "pull";
}
