// SPDX-License-Identifier: GPL-3.0-or-later

// What Grafana's data source for Prometheus does: it asks for the queries of a panel, and makes data frames of the answers.

import { type DataFrame, FieldType, type TimeRange, rangeUtil, toDataFrame } from '@grafana/data';

export interface Target {
  refId: string;
  expr: string;
  legendFormat?: string;
  format?: 'time_series' | 'table';
  instant?: boolean;
}

type Sample = [seconds: number, value: string];
type Series = { metric: Record<string, string>; value?: Sample; values?: Sample[] };

const scrapeInterval = '15s'; // what Grafana assumes unless its data source is configured

/** frames returns the answers to the queries of a panel that is as many pixels wide. */
export async function frames(targets: Target[], range: TimeRange, width: number): Promise<DataFrame[]> {
  const { interval, intervalMs } = rangeUtil.calculateInterval(range, Math.floor(width), scrapeInterval);
  const answers = await Promise.all(
    targets.map(async (target) => {
      const series = await ask(target, expand(target.expr, range, interval, intervalMs), range, intervalMs / 1000);
      return target.format === 'table' ? table(series) : series.map((s) => timeSeries(target, s, intervalMs));
    })
  );
  return answers.flat();
}

/** expand replaces Grafana's variables in a query. */
function expand(expr: string, range: TimeRange, interval: string, intervalMs: number): string {
  const scrapeMs = rangeUtil.intervalToMs(scrapeInterval);
  const rangeMs = range.to.valueOf() - range.from.valueOf();
  const rateMs = Math.max(intervalMs + scrapeMs, 4 * scrapeMs);
  const variables: Record<string, string> = {
    __interval: interval,
    __interval_ms: `${intervalMs}`,
    __rate_interval: `${rateMs / 1000}s`,
    __rate_interval_ms: `${rateMs}`,
    __range: `${Math.round(rangeMs / 1000)}s`,
    __range_s: `${Math.round(rangeMs / 1000)}`,
    __range_ms: `${rangeMs}`,
  };
  return expr.replace(/\$(?:([A-Za-z_]\w*)|\{(\w+)\})/g, (text, plain, braced) => {
    const value = variables[plain ?? braced];
    if (value === undefined) {
      throw new Error(`query ${expr}: the variable ${text} is not supported`);
    }
    return value;
  });
}

async function ask(target: Target, query: string, range: TimeRange, step: number): Promise<Series[]> {
  const align = (ms: number) => `${Math.floor(ms / 1000 / step) * step}`;
  const [path, times] = target.instant
    ? ['query', { time: `${range.to.valueOf() / 1000}` }]
    : ['query_range', { start: align(range.from.valueOf()), end: align(range.to.valueOf()), step: `${step}` }];
  const response = await fetch(`/api/v1/${path}?${new URLSearchParams({ query, ...times })}`);
  const answer = await response.json();
  if (answer.status !== 'success') {
    throw new Error(`query ${query}: ${answer.error}`);
  }
  return answer.data.result;
}

const number = (text: string) => Number(text.replace('Inf', 'Infinity'));

function timeSeries(target: Target, { metric, value, values = [value!] }: Series, intervalMs: number): DataFrame {
  const name = target.legendFormat?.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => metric[label] ?? '');
  const numbers = values.map(([, text]) => number(text));
  return toDataFrame({
    refId: target.refId,
    name,
    fields: [
      { name: 'Time', type: FieldType.time, values: values.map(([seconds]) => seconds * 1000), config: { interval: intervalMs } },
      {
        name: 'Value',
        type: FieldType.number,
        values: numbers.map((n) => (Number.isFinite(n) ? n : null)),
        labels: metric,
        config: { displayNameFromDS: name },
      },
    ],
  });
}

function table(series: Series[]): DataFrame[] {
  if (series.length === 0) {
    return [];
  }
  const labels = [...new Set(series.flatMap(({ metric }) => Object.keys(metric).sort()))];
  return [
    toDataFrame({
      fields: [
        { name: 'Time', type: FieldType.time, values: series.map(({ value }) => value![0] * 1000) },
        ...labels.map((name) => ({ name, type: FieldType.string, values: series.map(({ metric }) => metric[name]) })),
        { name: 'Value', type: FieldType.number, values: series.map(({ value }) => number(value![1])) },
      ],
    }),
  ];
}
