// Contents of a dashboard's JSON file by Grafana's own types; the JSON schema is generated from `Shapes`.
// Two extensions of those types: a query has fields of its data source, and an interval variable has three fields that only the newer
// version of Grafana's schema declares.
import type { AnnotationQuery, Dashboard, DataQuery, VariableModel } from '@grafana/schema';
import type { IntervalVariableSpec } from '@grafana/schema/apis/dashboard.grafana.app/v2';
import type * as BarChart from '@grafana/schema/dist/esm/raw/composable/barchart/panelcfg/x/BarChartPanelCfg_types.gen';
import type * as Histogram from '@grafana/schema/dist/esm/raw/composable/histogram/panelcfg/x/HistogramPanelCfg_types.gen';
import type * as Stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as Table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as TimeSeries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

type OfAnySource = DataQuery & { [field: string]: unknown };
type Interval = Omit<VariableModel, 'type'> & { type: 'interval' } & Pick<
    IntervalVariableSpec,
    'auto' | 'auto_min' | 'auto_count'
  >;

interface OneDashboard extends Omit<Dashboard, 'annotations' | 'templating'> {
  annotations?: { list?: AnnotationQuery<OfAnySource>[] };
  templating?: { list?: (VariableModel | Interval)[] };
}

export interface Shapes {
  dashboard: OneDashboard;
  barchart: { options: BarChart.Options; custom: BarChart.FieldConfig };
  histogram: { options: Histogram.Options; custom: Histogram.FieldConfig };
  stat: { options: Stat.Options };
  table: { options: Table.Options; custom: Table.FieldConfig };
  timeseries: { options: TimeSeries.Options; custom: TimeSeries.FieldConfig };
}
