/** Parameters and costs in words. Pure. */
import type { ParameterDescription } from '../../record/description.js';
import type { Values } from '../../record/records.js';
import type { Ratio } from './baseline.js';
import { type Cost, namesWith } from './costs.js';
import { formatBytes, formatCount, formatFigure, formatTimes } from './format.js';

type Value = Values[string];

/** A parameter's name in words, without its unit. */
export function nameText(name: string): string {
  return name.replace(/Bytes$/, '').replace(/([A-Z])/g, (letter) => ` ${letter.toLowerCase()}`);
}

/** The unit of a parameter: by its description; a name that ends in `Bytes` says it itself. */
function unitOf(name: string, parameter: ParameterDescription | undefined): ParameterDescription['unit'] {
  return parameter?.unit ?? (name.endsWith('Bytes') ? 'bytes' : undefined);
}

/** A varied value alone, under its name in a table's head. */
export function plainValue(name: string, value: Value | undefined, parameter?: ParameterDescription): string {
  if (value === undefined) return '';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value === 'string') return value;
  return unitOf(name, parameter) === 'bytes' ? formatBytes(value) : formatCount(value);
}

/** A parameter in a sentence: `touched` for true, `not touched` for false, `2 threads`, `image 64 KiB`. */
function valueText(name: string, value: Value, parameter: ParameterDescription | undefined): string {
  const words = nameText(name);
  if (typeof value === 'boolean') {
    if (parameter?.words !== undefined) return value ? parameter.words.yes : parameter.words.no;
    return value ? words : `not ${words}`;
  }
  if (typeof value === 'number' && parameter?.unit === 'count')
    return `${formatCount(value)} ${value === 1 && words.endsWith('s') ? words.slice(0, -1) : words}`;
  return parameter?.alone === true && typeof value === 'string'
    ? value
    : `${words} ${plainValue(name, value, parameter)}`;
}

/** What a cell varies besides the named parameters, as a key and as words: texts first, then numbers. */
export function variantOf(
  { varied, experiment }: Pick<Cost, 'varied' | 'experiment'>,
  without: readonly string[] = namesWith(experiment, 'size'),
): string {
  const rank = (value: Value): number => (typeof value === 'string' ? 0 : typeof value === 'number' ? 1 : 2);
  return Object.entries(varied)
    .filter(([name]) => !without.includes(name))
    .sort(([, a], [, b]) => rank(a) - rank(b))
    .map(([name, value]) => valueText(name, value, experiment.parameters[name]))
    .join(', ');
}

/** A cost with its unit. Never a time where instructions were counted. */
export function valueOf({ unit }: Pick<Cost, 'unit'>, value: number): string {
  return formatFigure(value, unit);
}

/** A cell in a sentence: mechanism, variation, value, interval, samples, lane and events. */
export function describeCost(cost: Cost): string {
  const { experiment, interval, spread, counts, samples, unit, value } = cost;
  const varied = Object.entries(cost.varied)
    .map(([name, one]) => valueText(name, one, experiment.parameters[name]))
    .join(', ');
  const outliers = spread?.outliers.length ?? 0;
  const statistics =
    interval === null
      ? ''
      : ` (95 % interval ${valueOf(cost, interval.low)} to ` +
        `${valueOf(cost, interval.high)}${spread === null ? '' : `, MAD ${valueOf(cost, spread.mad)}`}, ` +
        `${samples.length} ` +
        `samples${outliers === 0 ? '' : `, ${outliers} ${outliers === 1 ? 'outlier' : 'outliers'}`})`;
  const events =
    counts === undefined ? '' : `; ${counts.wrpkru} WRPKRU, ${counts.syscalls} system calls, ${counts.faults} faults`;
  const figure = unit === 'ns' ? valueOf(cost, value) : `${formatCount(value)} instructions`;
  return `${cost.mechanism}${varied === '' ? '' : `, ${varied}`}: ${figure}${statistics}, ${cost.lane} lane${events}`;
}

/** A ratio with its interval. */
export function ratioText({ ratio, interval, paired }: Ratio): string {
  if (interval === null) return formatTimes(ratio);
  const range = `95 % ${formatTimes(interval.low)} to ${formatTimes(interval.high)}`;
  return `${formatTimes(ratio)} (${range}${paired ? ', by pairs' : ''})`;
}
