// Draws the charts: each `<figure class="chart" data-chart="ID">` from the JSON that the element of that id has as its text.
//
//   {"kind": "stack", "unit": "credits", "buckets": ["2026-11-01", …], "series": [{"name": …, "values": […]}, …],
//    "links": ["/ui/usage?…", …]}                          bars on each other; a click on a bar follows its link
//   {"kind": "line", "unit": "credits", "points": [["2026-11-01T10:00:00Z", 12.5], …],
//    "marks": [{"at": …, "value": …, "name": …}, …]}       a balance through time, in steps, with what moved it
(() => {
  'use strict';

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const number = new Intl.NumberFormat('en', { maximumFractionDigits: 6 });
  const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 2 });

  // Times are those of the page's zone, whatever the browser's own is.
  const timeZone = document.documentElement.dataset.timeZone;
  const time = new Intl.DateTimeFormat('en-GB', { timeZone, dateStyle: 'medium', timeStyle: 'short' });
  const day = new Intl.DateTimeFormat('en-GB', { timeZone, day: 'numeric', month: 'short' });
  const hour = new Intl.DateTimeFormat('en-GB', { timeZone, hour: '2-digit', minute: '2-digit' });
  const DAY = 24 * 3600 * 1000;

  const element = (name, className, ...children) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    made.append(...children);
    return made;
  };

  const colours = (series) => series.map((each, index) => style(each.other ? '--series-other' : `--series-${(index % 8) + 1}`));

  const tip = (title, lines) => {
    const rows = lines.map(([name, value]) => element('span', '', element('span', '', name), element('span', '', value)));
    return element('div', 'chart-tip', element('b', '', title), ...rows);
  };

  const frame = () => ({
    animation: false,
    textStyle: { color: style('--foreground'), fontFamily: 'system-ui, sans-serif' },
    grid: { left: 8, right: 16, top: 12, bottom: 48, containLabel: true },
    tooltip: {
      trigger: 'axis',
      confine: true,
      backgroundColor: style('--popover'),
      borderColor: style('--border'),
      textStyle: { color: style('--popover-foreground') },
    },
  });

  const axis = () => ({
    axisLabel: { color: style('--muted-foreground'), hideOverlap: true },
    axisLine: { lineStyle: { color: style('--border') } },
    splitLine: { lineStyle: { color: style('--border') } },
  });

  const stack = ({ buckets, series, unit }) => ({
    ...frame(),
    color: colours(series),
    legend: { bottom: 0, type: 'scroll', textStyle: { color: style('--foreground') }, icon: 'roundRect' },
    xAxis: { type: 'category', data: buckets, ...axis() },
    yAxis: { type: 'value', ...axis(), axisLabel: { color: style('--muted-foreground'), formatter: (value) => short.format(value) } },
    series: series.map((each) => ({ name: each.name, type: 'bar', stack: 'all', data: each.values, barMaxWidth: 32 })),
    tooltip: {
      ...frame().tooltip,
      axisPointer: { type: 'shadow' },
      formatter: (parts) => {
        const used = parts.filter((part) => part.value);
        const sum = used.reduce((total, part) => total + part.value, 0);
        const lines = used.map((part) => [part.seriesName, number.format(part.value)]).reverse();
        return tip(parts[0].name, [...lines, [`all ${unit}`, number.format(sum)]]);
      },
    },
  });

  const span = (points) => (points.length ? new Date(points[points.length - 1][0]) - new Date(points[0][0]) : 0);

  const line = ({ points, marks, unit }) => ({
    ...frame(),
    useUTC: true,
    grid: { ...frame().grid, bottom: 8 },
    color: [style('--series-1'), style('--series-4')],
    xAxis: {
      type: 'time',
      ...axis(),
      splitLine: { show: false },
      axisLabel: { ...axis().axisLabel, formatter: (value) => (span(points) > 2 * DAY ? day : hour).format(value) },
    },
    yAxis: { type: 'value', scale: true, ...axis(), axisLabel: { color: style('--muted-foreground'), formatter: (value) => short.format(value) } },
    series: [
      { name: unit, type: 'line', step: 'end', data: points, showSymbol: false, areaStyle: { opacity: 0.12 } },
      { name: 'moves', type: 'scatter', symbolSize: 10, data: marks.map((mark) => ({ value: [mark.at, mark.value], name: mark.name })) },
    ],
    tooltip: {
      ...frame().tooltip,
      formatter: (parts) => tip(time.format(parts[0].axisValue), parts.map((part) => [part.data.name ?? unit, number.format(part.value[1])])),
    },
  });

  const kinds = { stack, line };
  const drawn = new Map();

  // The whole column of a bar leads where the bar does: a small bar is hard to hit.
  const followClicks = (chart, links) => {
    chart.getZr().on('click', ({ offsetX, offsetY }) => {
      if (!chart.containPixel('grid', [offsetX, offsetY])) return;
      const link = links[chart.convertFromPixel({ xAxisIndex: 0 }, offsetX)];
      if (link) location.assign(link);
    });
    chart.getZr().on('mousemove', ({ offsetX, offsetY }) => {
      chart.getZr().setCursorStyle(chart.containPixel('grid', [offsetX, offsetY]) ? 'pointer' : 'default');
    });
  };

  const draw = (figure) => {
    const source = document.getElementById(figure.dataset.chart);
    if (!source) return;
    const wanted = JSON.parse(source.textContent);
    let chart = drawn.get(figure);
    if (!chart) {
      chart = echarts.init(figure);
      drawn.set(figure, chart);
      new ResizeObserver(() => chart.resize()).observe(figure);
      if (wanted.links) followClicks(chart, wanted.links);
    }
    chart.setOption(kinds[wanted.kind](wanted), true);
    figure.dataset.drawn = 'true';
  };

  const drawAll = () => document.querySelectorAll('[data-chart]').forEach(draw);
  document.addEventListener('DOMContentLoaded', drawAll);
  document.addEventListener('groat:theme', drawAll);
  document.addEventListener('htmx:after:swap', drawAll);
})();
