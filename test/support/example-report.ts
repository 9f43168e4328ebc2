/**
 * Runs for the report's tests: one as large as a full run will be, made through the schema, and one with text that
 * means harm.
 */
import { randomFrom } from '../../src/record/random.js';
import type { CorruptionRecord, CostRecord, Run, RunRecord, Values } from '../../src/record/records.js';
import { checkRun } from '../../src/record/schema.js';
import { CASE_GROUPS, type GuardMechanism, type Verdict } from '../../src/record/words.js';
import { costParameters, exampleCorruption, exampleHonest, exampleRun, exampleSkipped } from './example-run.js';

const MECHANISMS: readonly GuardMechanism[] = [
  'none',
  'flag',
  'mprotect-page',
  'mprotect-range',
  'mprotect-naive',
  'pkeys-glibc',
  'pkeys',
];
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
  return (['native', 'emulated'] as const).flatMap((lane) =>
    CASE_GROUPS.flatMap((group) =>
      Array.from({ length: CASES_PER_GROUP }).flatMap((_, at) =>
        MECHANISMS.flatMap((mechanism): CorruptionRecord[] => {
          if (lane === 'native' && mechanism.startsWith('pkeys')) return [];
          const verdict = verdictOf(group, mechanism, at);
          const surprise = group === 'time and threads' && at === 3 && mechanism === 'mprotect-naive';
          const record: CorruptionRecord = {
            ...exampleCorruption,
            case: `${group.replaceAll(' ', '-')}-case-${at}`,
            group,
            mechanism,
            lane,
            verdict,
            surprise,
            unstable: surprise,
            seed: at,
            summary: 'A sentence about the bug that this stands for, long enough to be like the real ones.',
            repetitions: surprise ? [verdict, 'hung'] : [verdict, verdict, verdict],
            ...(verdict === 'damaged' ? { announced: at % 2 === 0 } : {}),
            evidence: {
              ...exampleCorruption.evidence,
              missing: ['si_code is SEGV_MAPERR, not SEGV_PKUERR', 'address 0x0 is outside every space'],
            },
          };
          return mechanism === 'pkeys'
            ? [record, { ...record, deny: 'access' }, { ...record, keys: 'space' }]
            : [record];
        }),
      ),
    ),
  );
}

/** Cost of one operation, as measured on a machine of the project, roughly. */
function cost(mechanism: string, lane: 'native' | 'emulated' | 'model', pages: number): number {
  const scale = lane === 'emulated' ? 2 : 1;
  if (mechanism === 'mprotect-page') return (400 + 2200 * pages) * scale;
  if (mechanism.startsWith('mprotect')) return (2900 + 39 * pages) * scale;
  return (
    {
      none: lane === 'emulated' ? 2 : 0.7,
      flag: lane === 'emulated' ? 37 : 2.2,
      'pkeys-glibc': 998,
      pkeys: 56,
      'pkeys-model': 80,
    }[mechanism] ?? 6000
  );
}

/** Applications with the callouts and callbacks of one unit. */
const APPLICATIONS: readonly (readonly [string, number, number])[] = [
  ['zlib, 1 KiB chunks', 256, 0],
  ['zlib, 64 KiB chunks', 4, 0],
  ['sqlite3, select', 1, 64],
  ['qsort', 1, 120],
  ['png decode', 72, 0],
];

function costRecords(): readonly CostRecord[] {
  const random = randomFrom(5);
  const records: CostRecord[] = [];
  const add = (
    experiment: string,
    mechanism: CostRecord['mechanism'],
    lane: 'native' | 'emulated' | 'model',
    parameters: Values,
    value: number,
  ): void => {
    const counted = lane === 'emulated';
    const samples = Array.from(
      { length: counted ? 3 : 30 },
      () => Math.round(value * (counted ? 1 : 0.97 + 0.08 * random()) * 1000) / 1000,
    );
    records.push({
      kind: 'cost',
      experiment,
      mechanism,
      lane,
      ...costParameters(experiment, mechanism, parameters),
      unit: counted ? 'instructions' : 'ns',
      samples,
      median: [...samples].sort((a, b) => a - b)[samples.length >> 1] ?? value,
      ...(experiment === 'threads'
        ? { observed: { bystanderFaults: 12, bystanderWaitedNs: 34_000, unprotectedWindows: 0 } }
        : {}),
      ...(mechanism === 'mprotect-page' && lane === 'native' && experiment !== 'threads'
        ? { warnings: [{ code: 'noisy', over: 0.05 }] }
        : {}),
    });
  };
  for (const lane of ['native', 'emulated'] as const) {
    const mechanisms = MECHANISMS.filter((mechanism) => lane === 'emulated' || !mechanism.startsWith('pkeys'));
    const native = lane === 'native';
    for (const mechanism of mechanisms) {
      const closes = mechanism !== 'none' && mechanism !== 'flag';
      for (let pages = 1; pages <= 65536; pages *= 4) {
        add(
          'callout',
          mechanism,
          lane,
          { imageBytes: pages * 4096, repeats: 100 },
          cost(mechanism, lane, pages) + (mechanism.startsWith('mprotect') ? 300 : 0),
        );
        for (const touched of [true, false])
          if (closes)
            add(
              'flip',
              mechanism,
              lane,
              { imageBytes: pages * 4096, touched, repeats: 100 },
              cost(mechanism, lane, touched ? pages : pages / 3),
            );
        for (const access of ['read', 'write'])
          if (/none|page|range|pkeys$/.test(mechanism) && pages <= 16384)
            add(
              'revisit',
              mechanism,
              lane,
              { imageBytes: 64 << 20, touchedPages: pages, access },
              100 + pages * (mechanism.startsWith('mprotect') ? 300 : 2),
            );
      }
      for (const count of [0, 6, 12]) {
        if (mechanism === 'none')
          for (const way of ['raw call', 'sigsetjmp(buf, 0)', 'sigsetjmp(buf, 1)'])
            add(
              'gate',
              'none',
              lane,
              { way, arguments: count },
              (native ? 1 : 2) + (way.endsWith('1)') ? 100 : way.length) + count,
            );
        else
          for (const foreignStack of [true, false])
            add(
              'gate',
              mechanism,
              lane,
              { way: 'guarded', arguments: count, foreignStack },
              cost(mechanism, lane, 16) + count,
            );
      }
      for (const imageBytes of [65536, 4 << 20, 64 << 20]) {
        for (const signature of ['int(int, int)', 'eight mixed arguments', 'struct by value'])
          if (native)
            add(
              'callout-koffi',
              mechanism,
              lane,
              { imageBytes, signature, by: 'guard' },
              40 + cost(mechanism, lane, imageBytes / 4096),
            );
        if (mechanism !== 'none')
          add('fault', mechanism, lane, { imageBytes, part: 'whole' }, 2500 + cost(mechanism, lane, imageBytes / 4096));
      }
      if (/flag|range|pkeys$/.test(mechanism)) {
        const size = { imageBytes: 65536 };
        add('fault', mechanism, lane, { ...size, part: 'delivery' }, 1200);
        add('fault', mechanism, lane, { ...size, part: 'gate' }, cost(mechanism, lane, 16));
        add('fault', mechanism, lane, { ...size, part: 'whole', occurrence: 'first' }, 9000);
        add('fault', mechanism, lane, { ...size, part: 'delivery', occurrence: 'first' }, 4000);
      }
      for (const work of ['read', 'write', 'allocate'])
        for (const threads of [1, 2])
          for (const what of ['operation of the others', 'callout meanwhile'])
            if (native)
              add(
                'threads',
                mechanism,
                lane,
                { imageBytes: 1 << 20, what, work, threads },
                90 * threads * (mechanism.startsWith('mprotect') ? 3 : 1),
              );
      if (native)
        for (const [application, callouts, callbacks] of APPLICATIONS)
          add(
            'applications',
            mechanism,
            lane,
            { application, imageBytes: 1 << 20, callouts, callbacks, unit: 'some work, told in a few words' },
            1e6 + (callouts + callbacks) * cost(mechanism, lane, 256),
          );
      if (native && !closes)
        for (const [application, callouts, callbacks] of APPLICATIONS)
          add(
            'model-run',
            mechanism,
            lane,
            { application, callouts, callbacks, unit: 'some work' },
            1e6 + (callouts + callbacks) * cost(mechanism, lane, 1),
          );
    }
  }
  for (const signature of ['int(int, int)', 'eight mixed arguments', 'struct by value'])
    for (const [by, value] of [
      ['koffi', 42],
      ['N-API', 35],
    ] as const)
      add('callout-koffi', 'none', 'native', { signature, by }, value);
  for (const processors of [1, 2])
    for (const [way, value] of [
      ['worker thread, futex', 5000],
      ['pre-forked process, futex', 6000],
      ['child over a pipe', 9000],
    ] as const) {
      for (const bufferBytes of [0, 4096])
        add(
          'alternatives',
          way.startsWith('worker') ? 'none' : 'process',
          'native',
          { way, bufferBytes, processors },
          value * (3 - processors) + bufferBytes / 8,
        );
    }
  add('alternatives', 'none', 'native', { way: 'call', bufferBytes: 0, processors: 1 }, 2);
  for (const [application, callouts, callbacks] of APPLICATIONS)
    for (const cycles of [20, 60, 260])
      add(
        'model-run',
        'pkeys-model',
        'model',
        { application, cycles, callouts, callbacks, unit: 'some work', reachedCycles: cycles + 2.5 },
        1e6 + (callouts + callbacks) * cycles * 0.7,
      );
  add('an-experiment-of-the-future', 'flag', 'native', { colour: 'blue', size: 3 }, 12);
  return records;
}

/** Ten groups of eight cases, nine columns, two lanes; every cost experiment. */
export function largeRun(): Run {
  const records: readonly RunRecord[] = [
    ...corruption(),
    exampleHonest,
    { ...exampleHonest, mechanism: 'pkeys', lane: 'emulated', outcome: 'same' },
    ...costRecords(),
    ...MECHANISMS.filter((mechanism) => mechanism.startsWith('pkeys')).flatMap((mechanism) =>
      CASE_GROUPS.map((group) => ({ ...exampleSkipped, mechanism, name: `${group.replaceAll(' ', '-')}-case-1` })),
    ),
  ];
  const run: Run = {
    ...exampleRun,
    records,
    context: {
      ...exampleRun.context,
      spaces: [
        { name: 'eden', bytes: 131072 },
        { name: 'old', bytes: 262144 },
      ],
    },
  };
  return checkRun(JSON.parse(JSON.stringify(run)), 'the large example');
}

/** Text that would break out of markup, attributes, scripts or the URL of a link, wherever a record can hold text. */
export const HARM =
  '"></dd></script><script>document.title="broken"</script><img src="https://example.invalid/x.png" ' +
  'onerror=alert(1)>\u0000&lt;';

export function harmfulRun(): Run {
  const run: Run = {
    ...exampleRun,
    context: {
      ...exampleRun.context,
      host: { ...exampleRun.context.host, cpu: HARM },
      versions: { [HARM]: HARM },
      commit: HARM,
      experiments: [
        {
          name: HARM,
          title: HARM,
          question: HARM,
          order: 1,
          shows: 'lines',
          parameters: { imageBytes: { role: 'size' } },
        },
      ],
    },
    records: [
      {
        ...exampleCorruption,
        case: HARM,
        summary: HARM,
        remedy: { kinds: ['process'], text: HARM },
        surprise: true,
        expected: { verdicts: ['trapped'], why: HARM },
        evidence: {
          ...exampleCorruption.evidence,
          because: HARM,
          missing: [HARM],
          notes: [HARM],
          answer: HARM,
          errno: HARM,
          canaries: [{ name: HARM, intact: false }],
          aftermath: [{ step: HARM, ok: false, detail: HARM }],
          process: { ...exampleCorruption.evidence.process, stderr: HARM },
        },
      },
      { ...exampleHonest, case: HARM, outcome: 'failed', detail: HARM },
      ...[65536, 1 << 22].map((imageBytes): RunRecord => ({
        kind: 'cost',
        experiment: HARM,
        mechanism: 'flag',
        lane: 'native',
        varied: { imageBytes, [HARM]: HARM },
        found: { [HARM]: HARM },
        rung: HARM,
        unit: 'ns',
        samples: [1, 2, 3],
        median: 2,
        warnings: [{ code: 'other', text: HARM, remedy: HARM }],
      })),
      { ...exampleSkipped, name: HARM, reason: HARM },
    ],
  };
  return checkRun(JSON.parse(JSON.stringify(run)), 'the harmful example');
}
