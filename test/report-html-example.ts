/** Runs for the report's tests: one as large as a full run will be, made through the schema, and one with text that means harm. */
import type { CorruptionRecord, CostRecord, Run, RunRecord } from '../src/experiment/records.js';
import { checkRun } from '../src/experiment/schema.js';
import { CASE_GROUPS, type GuardMechanism, type Verdict } from '../src/experiment/words.js';
import { randomFrom } from '../src/experiment/random.js';
import { exampleCorruption, exampleHonest, exampleRun, exampleSkipped } from './experiment-example.js';

const MECHANISMS: readonly GuardMechanism[] = ['none', 'flag', 'mprotect-page', 'mprotect-range', 'mprotect-naive', 'pkeys-glibc', 'pkeys'];
const CASES_PER_GROUP = 8;

function verdictOf(group: string, mechanism: GuardMechanism, at: number): Verdict {
  if (group === 'left open') return 'host-damaged';
  if (group === 'undoing protection') return mechanism === 'none' || at % 3 === 0 ? 'damaged' : 'crashed';
  if (group === 'allocator') return at % 2 === 0 ? 'hung' : 'trapped';
  if (group === 'through the kernel') return mechanism.startsWith('pkeys') && at % 2 === 0 ? 'refused' : 'damaged';
  if (mechanism === 'none' || mechanism === 'flag') return group === 'reads' ? 'disclosed' : 'damaged';
  return 'prevented';
}

function corruption(): readonly CorruptionRecord[] {
  return (['native', 'emulated'] as const).flatMap((lane) => CASE_GROUPS.flatMap((group) => Array.from({ length: CASES_PER_GROUP }).flatMap((_, at) => MECHANISMS.flatMap((mechanism): CorruptionRecord[] => {
    if (lane === 'native' && mechanism.startsWith('pkeys')) return [];
    const verdict = verdictOf(group, mechanism, at);
    const surprise = group === 'time and threads' && at === 3 && mechanism === 'mprotect-naive';
    const record: CorruptionRecord = {
      ...exampleCorruption, case: `${group.replaceAll(' ', '-')}-case-${at}`, group, mechanism, lane, verdict, surprise, unstable: surprise, seed: at,
      summary: 'A sentence about the bug that this stands for, long enough to be like the real ones.',
      repetitions: surprise ? [verdict, 'hung'] : [verdict, verdict, verdict], ...(verdict === 'damaged' ? { announced: at % 2 === 0 } : {}),
      evidence: { ...exampleCorruption.evidence, missing: ['si_code is SEGV_MAPERR, not SEGV_PKUERR', 'address 0x0 is outside every space'] },
    };
    return mechanism === 'pkeys' ? [record, { ...record, deny: 'access' }, { ...record, keys: 'space' }] : [record];
  }))));
}

/** Cost of one operation, as measured on a machine of the project, roughly. */
function cost(mechanism: string, lane: 'native' | 'emulated' | 'model', pages: number): number {
  const scale = lane === 'emulated' ? 2 : 1;
  if (mechanism === 'mprotect-page') return (400 + 2200 * pages) * scale;
  if (mechanism.startsWith('mprotect')) return (2900 + 39 * pages) * scale;
  return { none: lane === 'emulated' ? 2 : 0.7, flag: lane === 'emulated' ? 37 : 2.2, 'pkeys-glibc': 998, pkeys: 56, 'pkeys-model': 80 }[mechanism] ?? 6000;
}

function costRecords(): readonly CostRecord[] {
  const random = randomFrom(5);
  const records: CostRecord[] = [];
  const add = (experiment: string, mechanism: CostRecord['mechanism'], lane: 'native' | 'emulated' | 'model', parameters: CostRecord['parameters'], value: number): void => {
    const counted = lane === 'emulated';
    const samples = Array.from({ length: counted ? 3 : 30 }, () => Math.round(value * (counted ? 1 : 0.97 + 0.08 * random()) * 1000) / 1000);
    records.push({
      kind: 'cost', experiment, mechanism, lane, parameters, unit: counted ? 'instructions' : 'ns', samples, median: [...samples].sort((a, b) => a - b)[samples.length >> 1] ?? value,
      ...(mechanism === 'mprotect-page' && lane === 'native' ? { warnings: ['the machine is virtualised; run on bare metal for tighter intervals'] } : {}),
    });
  };
  for (const lane of ['native', 'emulated'] as const) {
    const mechanisms = MECHANISMS.filter((mechanism) => lane === 'emulated' || !mechanism.startsWith('pkeys'));
    for (const mechanism of mechanisms) {
      for (let pages = 1; pages <= 65536; pages *= 4) {
        for (const touched of [true, false]) if (mechanism !== 'none' && mechanism !== 'flag') add('flip', mechanism, lane, { imageBytes: pages * 4096, pages, touched, repeats: 100 }, cost(mechanism, lane, touched ? pages : pages / 3));
        add('revisit', mechanism, lane, { touchedPages: pages }, 100 + pages * (mechanism.startsWith('mprotect') ? 300 : 2));
      }
      for (const count of [0, 6, 12]) add('gate', mechanism, lane, { arguments: count, foreignStack: true }, cost(mechanism, lane, 16) + count);
      for (const imageBytes of [65536, 4 << 20, 64 << 20]) {
        for (const signature of ['int(int,int)', 'eight mixed arguments', 'struct by value']) if (lane === 'native') add('callout', mechanism, lane, { imageBytes, signature }, 40 + cost(mechanism, lane, imageBytes / 4096));
        if (mechanism !== 'none') add('fault', mechanism, lane, { imageBytes, pages: imageBytes / 4096 }, 2000 + cost(mechanism, lane, imageBytes / 4096));
      }
      for (const threads of [1, 2]) add('threads', mechanism, lane, { threads, what: 'allocations' }, 90 * threads * (mechanism.startsWith('mprotect') ? 3 : 1));
      if (lane === 'native') for (const application of ['zlib 1 KiB', 'zlib 64 KiB', 'sqlite3', 'qsort', 'png']) add('applications', mechanism, lane, { application }, 1e6 + 1000 * cost(mechanism, lane, 16));
    }
  }
  for (const way of ['pre-forked process, futex', 'child over a pipe', 'worker thread']) add('alternatives', 'process', 'native', { way }, way.length * 400);
  for (const cycles of [20, 60, 260]) add('model-run', 'pkeys-model', 'model', { application: 'qsort', cycles }, 1e6 + cycles * 100);
  add('an-experiment-of-the-future', 'flag', 'native', { colour: 'blue', size: 3 }, 12);
  return records;
}

/** Ten groups of eight cases, nine columns, two lanes; every cost experiment. */
export function largeRun(): Run {
  const records: readonly RunRecord[] = [
    ...corruption(), exampleHonest, { ...exampleHonest, mechanism: 'pkeys', lane: 'emulated', outcome: 'same' }, ...costRecords(),
    ...MECHANISMS.filter((mechanism) => mechanism.startsWith('pkeys')).flatMap((mechanism) => CASE_GROUPS.map((group) => ({ ...exampleSkipped, mechanism, name: `${group.replaceAll(' ', '-')}-case-1` }))),
  ];
  const run: Run = {
    ...exampleRun, records,
    context: { ...exampleRun.context, spaces: [{ name: 'eden', bytes: 131072 }, { name: 'old', bytes: 262144 }] },
  };
  return checkRun(JSON.parse(JSON.stringify(run)), 'the large example');
}

/** Text that would break out of markup, attributes, scripts or the URL of a link, wherever a record can hold text. */
export const HARM = '"></dd></script><script>document.title="broken"</script><img src="https://example.invalid/x.png" onerror=alert(1)>\u0000&lt;';

export function harmfulRun(): Run {
  const run: Run = {
    ...exampleRun,
    context: { ...exampleRun.context, host: { ...exampleRun.context.host, cpu: HARM }, versions: { [HARM]: HARM }, commit: HARM },
    records: [
      {
        ...exampleCorruption, case: HARM, summary: HARM, remedy: HARM, surprise: true, expected: { verdicts: ['trapped'], why: HARM },
        evidence: {
          ...exampleCorruption.evidence, because: HARM, missing: [HARM], notes: [HARM], answer: HARM, errno: HARM, canaries: [{ name: HARM, intact: false }], aftermath: [{ step: HARM, ok: false, detail: HARM }],
          process: { ...exampleCorruption.evidence.process, stderr: HARM },
        },
      },
      { ...exampleHonest, case: HARM, outcome: 'failed', detail: HARM },
      ...[65536, 1 << 22].map((imageBytes): RunRecord => ({
        kind: 'cost', experiment: HARM, mechanism: 'flag', lane: 'native', parameters: { imageBytes, [HARM]: HARM }, unit: 'ns', samples: [1, 2, 3], median: 2, warnings: [HARM],
      })),
      { ...exampleSkipped, name: HARM, reason: HARM },
    ],
  };
  return checkRun(JSON.parse(JSON.stringify(run)), 'the harmful example');
}
