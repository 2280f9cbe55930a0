// Given to `node --import`: writes the URL of each module that is loaded to the file that SOCI_TEST_MODULES names, one on a line.
import { register } from "node:module";

const HOOKS = `
import { appendFileSync } from "node:fs";
export async function load(url, context, next) {
  appendFileSync(process.env.SOCI_TEST_MODULES, url + "\\n");
  return next(url, context);
}`;

register(`data:text/javascript,${encodeURIComponent(HOOKS)}`);
