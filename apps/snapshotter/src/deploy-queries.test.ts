import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import type { MetricSpec } from "@soci-ts/metrics";
import { METRICS } from "./metrics-table.ts";

const read = (path: string): string =>
  readFileSync(new URL(`../../../${path}`, import.meta.url), "utf8");

const DASHBOARD = JSON.parse(read("deploy/grafana/soci-snapshotter.json")) as {
  readonly panels: readonly Panel[];
};
const ALERTS = read("deploy/prometheus/soci-snapshotter-alerts.yml");
const README = read("apps/snapshotter/README.md");

interface Panel {
  readonly title: string;
  readonly type: string;
  readonly description?: string;
  readonly targets?: readonly { readonly expr: string }[];
}

/** Labels that Prometheus adds itself. */
const OWN_LABELS = ["instance", "job", "le"];

/** The metric that a series' name belongs to: a histogram has three series. */
function metricOf(series: string): MetricSpec | undefined {
  const histogram = METRICS[series.replace(/_(bucket|sum|count)$/, "")];
  return METRICS[series] ?? (histogram?.type === "histogram" ? histogram : undefined);
}

/** What a query names that there is not. */
function faultsOf(expr: string): readonly string[] {
  const series = [...expr.matchAll(/\bsoci_[a-z0-9_]+/g)].map(([name]) => name);
  const specs = series.map(metricOf);
  const labels = new Map(specs.flatMap((spec) => Object.entries(spec?.labels ?? {})));
  const grouped = [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list = ""]) =>
    list.split(",").map((label) => label.trim()),
  );
  const matched = [...expr.matchAll(/([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"/g)];
  const isKnown = (label: string): boolean => OWN_LABELS.includes(label) || labels.has(label);
  const strange = [...grouped, ...matched.map(([, label = ""]) => label)].filter(
    (label) => !isKnown(label),
  );
  const values = matched.flatMap(([, label = "", , text = ""]) =>
    OWN_LABELS.includes(label)
      ? []
      : text.split("|").filter((value) => !labels.get(label)?.includes(value)),
  );
  return [
    ...series.filter((_, at) => specs[at] === undefined).map((name) => `no metric ${name}`),
    ...strange.map((label) => `no label ${label}`),
    ...values.map((value) => `no label value ${value}`),
    ...series
      .filter((name, at) => specs[at]?.type === "counter" && !isRated(expr, name))
      .map((name) => `counter ${name} without rate`),
  ];
}

function isRated(expr: string, series: string): boolean {
  return new RegExp(`(rate|increase)\\(${series}\\b`).test(expr);
}

describe("the dashboard", () => {
  const panels = DASHBOARD.panels.filter(({ type }) => type !== "row");

  it("asks for metrics, labels and values that exist", () => {
    const exprs = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
    assert.ok(exprs.length >= 25);
    for (const expr of exprs) assert.deepEqual(faultsOf(expr), [], expr);
  });

  it("says what each panel shows", () => {
    for (const { title, description } of panels) assert.match(description ?? "", /\.$/, title);
  });

  it("would not pass with a name that does not exist", () => {
    assert.deepEqual(faultsOf('rate(soci_layer_nonsense_total{door="x"}[5m])'), [
      "no metric soci_layer_nonsense_total",
      "no label door",
      "no label value x",
    ]);
    assert.deepEqual(faultsOf("soci_layer_requests_total"), [
      "counter soci_layer_requests_total without rate",
    ]);
  });
});

describe("the alerts", () => {
  const names = [...ALERTS.matchAll(/^ +- alert: (\w+)$/gm)].map(([, name = ""]) => name);
  const exprs = [...ALERTS.matchAll(/^ +expr: (.+)$/gm)].map(([, expr = ""]) => expr);

  it("ask for metrics, labels and values that exist", () => {
    assert.ok(names.length >= 15);
    assert.equal(exprs.length, names.length);
    for (const expr of exprs) {
      const own = expr.replace('job="soci-snapshotter"', "");
      assert.deepEqual(faultsOf(own), [], expr);
    }
  });

  it("stand in the runbook, each with its meaning and what to do, and nothing else does", () => {
    const [, runbook = ""] = /\n## Runbook\n(.*?)\n## /s.exec(README) ?? [];
    const rows = [...runbook.matchAll(/^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$/gm)];
    assert.deepEqual(
      rows.map(([, name]) => name),
      names,
    );
  });
});
