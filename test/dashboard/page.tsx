// SPDX-License-Identifier: GPL-3.0-or-later

// A page that shows the dashboard with Grafana's own components. It does what Grafana's dashboard does around them: it puts the panels
// into their places, and gives them the defaults of Grafana's options for all that the dashboard leaves out.

import {
  type DataFrame,
  type DataTransformerConfig,
  type FieldConfigSource,
  type FieldDisplay,
  type GrafanaTheme2,
  type TimeRange,
  Registry,
  ThemeContext,
  applyFieldOverrides,
  createTheme,
  dateTime,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
} from '@grafana/data';
import { BigValue, GlobalStyles, Icon, PanelChrome, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import type { ReactNode } from 'react';
import { flushSync } from 'react-dom';
import { createRoot } from 'react-dom/client';
import { lastValueFrom } from 'rxjs';

import { type Target, frames } from './prometheus';

// The transformations of tables that a dashboard may use here.
const { organizeFieldsTransformer } = standardTransformers;
standardTransformersRegistry.setInit(() => [{ ...organizeFieldsTransformer, transformation: async () => organizeFieldsTransformer } as any]);

type Values = Record<string, any>;

interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  gridPos: { x: number; y: number; w: number; h: number };
  fieldConfig: { defaults: Values; overrides: { properties: { id: string }[] }[] };
  options: Values;
  transformations?: DataTransformerConfig[];
  targets: Target[];
}

// The grid of Grafana's dashboards, in pixels.
const columns = 24;
const rowHeight = 30;
const gap = 8;
const padding = 16;

// The defaults of Grafana's options, by the type of the panel: those of fields, of fields in such panels only, and of the panel.
const kinds: Record<string, { color: string; custom: Values; options: Values }> = {
  timeseries: {
    color: 'palette-classic',
    custom: {
      drawStyle: 'line',
      lineInterpolation: 'linear',
      lineWidth: 1,
      lineStyle: { fill: 'solid' },
      fillOpacity: 0,
      gradientMode: 'none',
      showPoints: 'auto',
      pointSize: 5,
      spanNulls: false,
      axisPlacement: 'auto',
      axisColorMode: 'text',
      axisSoftMax: undefined,
      stacking: { mode: 'none', group: 'A' },
      thresholdsStyle: { mode: 'off' },
      scaleDistribution: { type: 'linear' },
    },
    options: { legend: { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [] } },
  },
  stat: {
    color: 'thresholds',
    custom: {},
    options: {
      graphMode: 'area',
      colorMode: 'value',
      justifyMode: 'auto',
      textMode: 'auto',
      orientation: 'auto',
      reduceOptions: { calcs: ['lastNotNull'] },
    },
  },
  table: { color: 'thresholds', custom: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false }, options: {} },
};
const steps = [{ value: null, color: 'green' }, { value: 80, color: 'red' }];
const standard = ['unit', 'min', 'max', 'decimals', 'color', 'thresholds', 'mappings', 'noValue', 'displayName'];

/** configured sets the units, colors and other properties of a panel's fields. It returns them, too. */
function configured(panel: Panel, data: DataFrame[], theme: GrafanaTheme2) {
  const { color, custom } = kinds[panel.type];
  const { defaults: set, overrides } = panel.fieldConfig;
  const property = (id: string, isCustom = false): any => ({
    id: isCustom ? `custom.${id}` : id,
    path: id,
    name: id,
    isCustom,
    process: (value: any) => value,
    shouldApply: () => true,
  });
  const properties = [...standard.map((id) => property(id)), ...Object.keys(custom).map((id) => property(id, true))];
  const unknown = overrides.flatMap((rule) => rule.properties).find(({ id }) => !properties.some((p) => p.id === id));
  if (unknown) {
    throw new Error(`panel ${panel.title}: the property ${unknown.id} is not supported`);
  }
  const thresholds = { mode: 'absolute', steps, ...set.thresholds };
  const fieldConfig: any = {
    defaults: {
      color: { mode: color },
      ...set,
      thresholds: { ...thresholds, steps: thresholds.steps.map((step: Values) => ({ ...step, value: step.value ?? -Infinity })) },
      custom: { ...custom, ...set.custom },
    },
    overrides,
  };
  const fieldConfigRegistry: any = new Registry(() => properties);
  const fields = applyFieldOverrides({ data, theme, fieldConfig, fieldConfigRegistry, replaceVariables: (text) => text, timeZone: 'utc' });
  return { data: fields, fieldConfig };
}

interface Drawing {
  data: DataFrame[];
  fieldConfig: FieldConfigSource;
  options: Values;
  theme: GrafanaTheme2;
  range: TimeRange;
  width: number;
  height: number;
}

function NoData({ theme, width, height }: Drawing) {
  const style = { width, height, display: 'flex', alignItems: 'center', justifyContent: 'center', color: theme.colors.text.secondary };
  return <div style={{ ...style, ...theme.typography.h4 }}>No data</div>;
}

function Stat({ data, fieldConfig, options, theme, range, width, height }: Drawing) {
  const { reduceOptions, orientation, ...look } = options as any;
  const values = () =>
    getFieldDisplayValues({
      data,
      theme,
      reduceOptions,
      fieldConfig,
      replaceVariables: (text) => text,
      sparkline: look.graphMode !== 'none',
      timeZone: 'utc',
    });
  const value = ({ value: { display, sparkline }, ...place }: Values) => (
    <BigValue
      {...look}
      {...place}
      value={display}
      sparkline={sparkline && { ...sparkline, timeRange: range }}
      parentOrientation={orientation}
      theme={theme}
    />
  );
  return (
    <VizRepeater<FieldDisplay, any>
      getValues={values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={value}
      width={width}
      height={height}
      source={data}
      renderCounter={0}
      orientation={orientation}
      autoGrid
    />
  );
}

function Content({ type, ...drawing }: Drawing & { type: string }) {
  const { data, options, range, width, height } = drawing;
  if (type === 'stat') {
    return <Stat {...drawing} />;
  }
  if (data.length === 0) {
    return <NoData {...drawing} />;
  }
  return type === 'table' ? (
    <TableNG {...options} data={data[0]} width={width} height={height} />
  ) : (
    <TimeSeries frames={data} width={width} height={height} timeRange={range} timeZone="utc" legend={options.legend} />
  );
}

/** places returns where the panels are, in rows of the grid: like Grafana, without overlaps and without empty rows. */
function places(panels: Panel[]): Panel['gridPos'][] {
  const placed: Panel['gridPos'][] = [];
  const hit = (p: Panel['gridPos']) =>
    placed.find((q) => p.x < q.x + q.w && q.x < p.x + p.w && p.y < q.y + q.h && q.y < p.y + p.h);
  const all = panels.map((panel) => ({ ...panel.gridPos }));
  for (const p of [...all].sort((p, q) => p.y - q.y || p.x - q.x)) {
    while (p.y > 0 && !hit(p)) {
      p.y--;
    }
    for (let other; (other = hit(p)); ) {
      p.y = other.y + other.h;
    }
    placed.push(p);
  }
  return all;
}

async function show() {
  const search = new URLSearchParams(location.search);
  const [from, to] = ['from', 'to'].map((name) => dateTime(Number(search.get(name))));
  const range: TimeRange = { from, to, raw: { from, to } };
  const theme = createTheme({ colors: { mode: search.get('theme') as 'light' | 'dark' } });

  const failed = Promise.withResolvers<void>();
  const root = createRoot(document.body.appendChild(document.createElement('main')), { onUncaughtError: failed.reject });
  const themed = (content: ReactNode) => (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      {content}
    </ThemeContext.Provider>
  );
  // The fonts have to be there before the panels: text in a plot is drawn once.
  flushSync(() => root.render(themed(null)));
  await Promise.all(['400 12px Inter', '500 12px Inter'].map((font) => document.fonts.load(font)));

  const panels: Panel[] = (await (await fetch('/dashboard.json')).json()).panels;
  const columnWidth = (innerWidth - 2 * padding - (columns - 1) * gap) / columns;
  const boxes = places(panels).map((p) => ({
    left: padding + p.x * (columnWidth + gap),
    top: padding + p.y * (rowHeight + gap),
    width: p.w * (columnWidth + gap) - gap,
    height: p.h * (rowHeight + gap) - gap,
  }));
  document.body.style.height = `${Math.max(...boxes.map((box) => box.top + box.height)) + padding}px`;

  const draw = async (panel: Panel, i: number) => {
    const { type, title, description } = panel;
    const { width, height } = boxes[i];
    if (type === 'row') {
      const style = { ...theme.typography.h5, color: theme.colors.text.primary, display: 'flex', alignItems: 'center', gap: 4, height };
      return (
        <div style={style}>
          <Icon name="angle-down" />
          {title}
        </div>
      );
    }
    if (!kinds[type]) {
      throw new Error(`panel ${title}: the type ${type} is not supported`);
    }
    for (const { id } of panel.transformations ?? []) {
      standardTransformersRegistry.get(id); // fails where it is not there
    }
    const data = transformDataFrame(panel.transformations ?? [], await frames(panel.targets, range, width));
    const fields = configured(panel, await lastValueFrom(data), theme);
    const drawing = { type, ...fields, theme, range, options: { ...kinds[type].options, ...panel.options } };
    return (
      <PanelChrome title={title} description={description} width={width} height={height}>
        {(innerWidth, innerHeight) => <Content {...drawing} width={innerWidth} height={innerHeight} />}
      </PanelChrome>
    );
  };
  const drawn = await Promise.all(panels.map(draw));
  const content = drawn.map((panel, i) => (
    <div key={panels[i].id} style={{ position: 'absolute', ...boxes[i] }}>
      {panel}
    </div>
  ));
  root.render(themed(content));
  await Promise.race([quiet(), failed.promise]);
}

/** quiet waits until the page has not changed for a second: legends, icons and tables come after the panels. */
function quiet(): Promise<void> {
  return new Promise((resolve) => {
    let timer = setTimeout(resolve, 1000);
    new MutationObserver(() => {
      clearTimeout(timer);
      timer = setTimeout(resolve, 1000);
    }).observe(document.body, { subtree: true, childList: true, attributes: true });
  });
}

Object.assign(window, { shown: show(), quiet });
