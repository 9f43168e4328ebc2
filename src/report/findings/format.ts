/** Numbers as text, each with its unit. Pure. */

/** Units that tables and charts know. `instructions` are counted, and never a time; `rate`: callouts a second. */
export type Unit =
  | 'ns'
  | 'instructions'
  | 'instructions per page'
  | 'bytes'
  | 'count'
  | 'times'
  | 'percent'
  | 'rate'
  | 'plain';

/** Three significant digits, no exponent. */
function significant(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toFixed(digits);
}

/** A time in ns as ns, µs, ms or s. */
export function formatNs(ns: number): string {
  if (Math.abs(ns) < 999.5) return `${significant(ns)} ns`;
  if (Math.abs(ns) < 999_500) return `${significant(ns / 1e3)} µs`;
  if (Math.abs(ns) < 999_500_000) return `${significant(ns / 1e6)} ms`;
  return `${significant(ns / 1e9)} s`;
}

/** A count with separators; from a million on in M, with three digits. */
export function formatCount(count: number): string {
  if (Math.abs(count) >= 999_500) return `${significant(count / 1e6)} M`;
  return String(Math.round(count)).replace(/\B(?=(\d{3})+(?!\d))/g, ',');
}

/** Bytes in KiB, MiB or GiB. */
export function formatBytes(bytes: number): string {
  const trim = (value: number): string => (Number.isInteger(value) ? String(value) : significant(value));
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1 << 20) return `${trim(bytes / 1024)} KiB`;
  if (bytes < 1 << 30) return `${trim(bytes / (1 << 20))} MiB`;
  return `${trim(bytes / (1 << 30))} GiB`;
}

/** A ratio as `×1.02`. */
export function formatTimes(ratio: number): string {
  return `×${ratio >= 10 ? formatCount(ratio) : ratio.toFixed(ratio < 1.995 ? 3 : 2)}`;
}

/** A share of a processor, in percent. */
function formatPercent(percent: number): string {
  return `${percent.toPrecision(2)} %`;
}

/** Callouts a second. */
export function formatRate(rate: number): string {
  return rate >= 10 ? formatCount(rate) : rate.toPrecision(2);
}

/** A figure with its unit. */
export function formatFigure(value: number, unit: Unit): string {
  switch (unit) {
    case 'ns':
      return formatNs(value);
    case 'instructions':
      return `${formatCount(value)} instr.`;
    case 'instructions per page':
      return `${Math.abs(value) >= 0.0005 && Math.abs(value) < 10 ? value.toFixed(3) : formatCount(value)} instr.`;
    case 'bytes':
      return formatBytes(value);
    case 'count':
      return formatCount(value);
    case 'times':
      return formatTimes(value);
    case 'percent':
      return formatPercent(value);
    case 'rate':
      return formatRate(value);
    case 'plain':
      return String(value);
  }
}

/** Two figures of one unit, from the less to the greater; a unit that both have is written once. */
export function formatRange(low: number, high: number, unit: Unit): string {
  if (unit === 'percent') return `${low.toPrecision(2)} to ${formatPercent(high)}`;
  return `${formatFigure(low, unit)} to ${formatFigure(high, unit)}`;
}

/** A number with an SI prefix, for axes. */
function prefixed(value: number): string {
  if (value >= 1e9) return `${value / 1e9} G`;
  if (value >= 1e6) return `${value / 1e6} M`;
  return value >= 1e3 ? `${value / 1e3} k` : String(value);
}

/** A time for an axis: round numbers, so as they are. */
function tickNs(ns: number): string {
  const [scale, unit] = ns < 1e3 ? [1, 'ns'] : ns < 1e6 ? [1e3, 'µs'] : ns < 1e9 ? [1e6, 'ms'] : [1e9, 's'];
  return `${Number((ns / scale).toPrecision(3))} ${unit}`;
}

/** A value at an axis, without needless digits. */
export function formatTick(value: number, unit: Unit): string {
  switch (unit) {
    case 'ns':
      return tickNs(value);
    case 'instructions':
    case 'instructions per page':
    case 'rate':
      return prefixed(value);
    case 'bytes':
      return formatBytes(value);
    case 'times':
      return `×${value < 10 ? value : formatCount(value)}`;
    case 'percent':
      return `${value} %`;
    case 'count':
    case 'plain':
      return formatCount(value);
  }
}
