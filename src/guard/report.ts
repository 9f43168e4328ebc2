/**
 * What guarded processes report at their end, one line of JSON each: the preloaded library (native/host/report.c) for
 * each process, turnkey/register for each thread with koffi. And the summary that is made of it.
 */

/** The failed callouts of one function. */
export interface FailedFunction {
  readonly function: string;
  readonly count: number;
  /** The first failure in full. */
  readonly first: { readonly text: string; readonly stack?: string };
}

/** A line of the preloaded library. */
export interface ProcessReport {
  readonly pid: number;
  readonly program: string;
  readonly adapter: string;
  readonly mechanism: string;
  readonly callouts: number;
  readonly failed: number;
  readonly unguarded: number;
  readonly notAdopted: number;
  /** The heap at its largest, as far as it was looked at. */
  readonly heapRanges: number;
  readonly heapBytes: number;
  readonly heapBytesAtEnd: number;
  /** What stays open under this adapter, in words. */
  readonly open: string;
  readonly notes: readonly { readonly text: string }[];
  readonly failures: readonly FailedFunction[];
}

/** A line of turnkey/register. */
export interface KoffiReport {
  readonly kind: 'koffi';
  readonly pid: number;
  readonly callouts: number;
  readonly failures: readonly FailedFunction[];
}

/** All that one guarded command came to. */
export interface GuardReport {
  readonly command: readonly string[];
  readonly lane: 'native' | 'emulated';
  readonly asked: string;
  /** Why there are no keys in this lane; empty where there are. */
  readonly noKeys: string;
  readonly exitCode: number;
  readonly processes: readonly ProcessReport[];
  readonly koffi: readonly KoffiReport[];
}

/** The lines of a report file; what is cut off (a full disk, a kill) is left out. */
export function parseLines(text: string): Pick<GuardReport, 'processes' | 'koffi'> {
  const lines = text.split('\n').flatMap((line) => {
    try {
      return line === '' ? [] : [JSON.parse(line) as ProcessReport | KoffiReport];
    } catch {
      return [];
    }
  });
  return {
    processes: lines.filter((line): line is ProcessReport => !('kind' in line)),
    koffi: lines.filter((line): line is KoffiReport => 'kind' in line),
  };
}

const times = (count: number, what: string): string => `${String(count)} ${what}${count === 1 ? '' : 's'}`;
const unique = (texts: readonly string[]): readonly string[] => [...new Set(texts)].filter((text) => text !== '');

/** Failures of all processes, by function. */
function failuresOf({ processes, koffi }: GuardReport): readonly FailedFunction[] {
  const found = new Map<string, FailedFunction>();
  for (const failure of [...processes, ...koffi].flatMap(({ failures }) => failures)) {
    const known = found.get(failure.function);
    found.set(failure.function, known === undefined ? failure : { ...known, count: known.count + failure.count });
  }
  return [...found.values()].sort((a, b) => b.count - a.count);
}

/** The mechanisms that its processes had. */
export const mechanismsOf = ({ asked, processes }: GuardReport): string =>
  unique(processes.map(({ mechanism }) => mechanism)).join(', ') || asked;

/** What kept the heap, in a sentence. */
function protection(report: GuardReport): string {
  const { processes, koffi } = report;
  const mechanisms = mechanismsOf(report);
  if (mechanisms === 'flag') return 'the trap alone (flag) caught faults; the heap was open';
  const calling = processes.filter(({ pid, callouts }) => callouts > 0 || koffi.some((one) => one.pid === pid));
  const open = unique(calling.filter(({ heapRanges }) => heapRanges === 0).map(({ program }) => program));
  return open.length > 0
    ? `${mechanisms} closed no memory of ${open.join(', ')}: the trap alone caught its faults`
    : `${mechanisms} closed the heap in every callout`;
}

/** The lines that `turnkey guard` prints at the end. */
export function summary(report: GuardReport): readonly string[] {
  const { processes, koffi, lane } = report;
  const callouts = [...processes, ...koffi].reduce((sum, one) => sum + one.callouts, 0);
  const failures = failuresOf(report);
  const failed = failures.reduce((sum, { count }) => sum + count, 0);
  const unguarded = processes.reduce((sum, one) => sum + one.unguarded, 0);
  const notAdopted = processes.reduce((sum, one) => sum + one.notAdopted, 0);
  // a shell on the way to the program is no host
  const hosts = processes.filter((host) => host.adapter !== 'ffi' || host.callouts > 0);
  const adapters = unique((hosts.length > 0 ? hosts : processes).map(({ adapter }) => adapter)).join(', ');
  if (report.asked === 'none') return ['mechanism none: nothing was guarded, and nothing was counted'];
  if (processes.length === 0)
    return [
      'no process reported: the program was ended by a signal, ended itself without its exit handlers, or has file ' +
        'capabilities, and the loader then preloads nothing; nothing is known of its callouts',
    ];
  return [
    `${times(callouts, 'callout')}, ${String(failed)} failed; lane ${lane}, adapter ${adapters}`,
    callouts === 0
      ? 'no callout was seen: the program made none, or not through an FFI that this adapter knows'
      : protection(report),
    ...(unguarded > 0 ? [`${times(unguarded, 'callout')} could not be guarded`] : []),
    ...(notAdopted > 0 ? [`${times(notAdopted, 'mapping')} of the heap could not be closed`] : []),
    ...unique(processes.flatMap(({ notes }) => notes.map(({ text }) => text))),
    ...failures.map(({ count, first }) => `${String(count)} × ${first.text}`),
  ];
}
