// `npm run matrix:windows [-- DIR]`: the corruption cases that are plain C, under Wine, one process for each trial
// (native/matrix). Writes run.json and its reports to DIR
// (default results/<time>), in the form of every run, lane `wine`: behaviour only. Sets up what `npm run test:windows`
// needs, and builds.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { release } from 'node:os';

import { buildCross, buildNative, buildTypeScript, ensurePrerequisites, fail, root } from './setup.mjs';

const MECHANISMS = ['none', 'flag', 'mprotect-page', 'mprotect-range', 'pkeys'];
const LIMIT_MS = 60_000;
const SETTING = { lane: 'wine', deny: 'write', keys: 'image', kernel: '' };
/** Where Windows has another word than the case's own expectation. */
const EXPECTED_HERE = {
  'stack-pivot': (mechanism) =>
    mechanism === 'none' || mechanism === 'flag'
      ? undefined
      : {
          verdicts: ['crashed'],
          why: 'Windows reports an exception on the stack that it happened on, and that is closed',
        },
};

function run(program, args, timeout) {
  const { status, signal, stdout, stderr, error } = spawnSync(
    'sh',
    [join(root, 'cmake', 'wine.sh'), join(root, 'build-win', 'wineprefix'), program, ...args],
    { encoding: 'utf8', timeout, killSignal: 'SIGTERM' },
  );
  return { status, signal, stdout: stdout.replaceAll('\r\n', '\n'), stderr, timedOut: error?.code === 'ETIMEDOUT' };
}

async function main() {
  const directory =
    process.argv[2] ?? join(root, 'results', new Date().toISOString().replaceAll(':', '-').slice(0, 19));
  ensurePrerequisites();
  ensurePrerequisites({ lane: 'wine' });
  buildNative();
  buildTypeScript();
  const program = join(buildCross('wine'), 'matrix', 'turnkey-trial.exe');
  const dist = (path) => import(new URL(`../dist/src/${path}`, import.meta.url).href);
  const { judge } = await dist('run/verdict.js');
  const { loadCorruption } = await dist('experiment/catalogue.js');
  const { parseOutput } = await dist('experiment/protocol.js');
  const { hostContext, currentCommit, versions } = await dist('run/context.js');
  const { SCHEMA_VERSION } = await dist('record/records.js');
  const { writeRun } = await dist('record/store.js');
  const { writeReports } = await dist('report/files.js');

  const started = new Date().toISOString();
  const names = run(program, ['--list'], LIMIT_MS)
    .stdout.split('\n')
    .filter((line) => line !== '');
  const records = [];
  let keysReason = null;
  for (const name of names) {
    const experiment = await loadCorruption(name);
    const verdicts = [];
    for (const mechanism of MECHANISMS) {
      const { status, stdout, stderr, timedOut } = run(program, [name, mechanism], LIMIT_MS);
      const output = parseOutput(stdout);
      if (output.failed !== null) {
        keysReason = output.failed.reason;
        records.push({
          kind: 'skipped',
          of: 'corruption',
          name,
          mechanism,
          lane: 'wine',
          reason: output.failed.reason,
        });
        continue;
      }
      const died = status !== 0 || timedOut;
      const stage =
        output.finished !== null
          ? 'finished'
          : output.called !== null
            ? 'called'
            : output.setUp !== null
              ? 'set up'
              : 'start';
      // Nobody reads a dying Windows process's memory here.
      const ending = {
        exitCode: timedOut ? null : status,
        signal: null,
        timedOut,
        stage: died && stage === 'finished' ? 'called' : stage,
        imageAtDeath: 'unknown',
        changedBytesAtDeath: 0,
        firstChangeAtDeath: null,
        lastSignal: null,
        stderr: died ? stderr.trimEnd().split('\n').slice(-3).join('\n').slice(0, 600) : '',
      };
      const { called, finished } = output;
      const judgement = judge({
        mechanism,
        deny: 'write',
        vmModules: output.setUp?.vmModules ?? [],
        inapplicable: called?.inapplicable ?? null,
        fault: called?.fault ?? null,
        errno: null,
        disclosed: called?.disclosed ?? false,
        diff: finished?.diff ?? null,
        canaries: finished?.canaries ?? [],
        aftermath: finished?.aftermath ?? null,
        process: ending,
      });
      const expected = EXPECTED_HERE[name]?.(mechanism) ?? experiment.expected({ ...SETTING, mechanism });
      verdicts.push(judgement.verdict);
      records.push({
        kind: 'corruption',
        case: name,
        group: experiment.group,
        mechanism,
        lane: 'wine',
        deny: 'write',
        keys: 'image',
        summary: experiment.summary,
        ...(experiment.remedy === undefined ? {} : { remedy: experiment.remedy }),
        expected,
        verdict: judgement.verdict,
        ...(judgement.announced === undefined ? {} : { announced: judgement.announced }),
        surprise: !expected.verdicts.includes(judgement.verdict),
        unstable: false,
        repetitions: [judgement.verdict],
        seed: 1,
        evidence: {
          because: judgement.because,
          missing: judgement.missing,
          fault: called?.fault ?? null,
          answer: called?.answer ?? null,
          errno: null,
          diff: finished?.diff ?? null,
          canaries: finished?.canaries ?? [],
          aftermath: finished?.aftermath ?? [],
          process: ending,
          notes: called?.notes ?? [],
        },
      });
      if (records.at(-1).surprise)
        process.stdout.write(
          `surprise: ${name} under ${mechanism}: ${judgement.verdict} (${judgement.because}), expected ${expected.verdicts.join(' or ')}\n`,
        );
    }
    process.stdout.write(`${name.padEnd(24)} ${verdicts.map((verdict) => verdict.padEnd(12)).join(' ')}\n`);
  }
  const host = hostContext();
  const wine = spawnSync('sh', ['-c', '/usr/lib/wine/wine64 --version 2>/dev/null || wine --version 2>/dev/null'], {
    encoding: 'utf8',
  }).stdout.trim();
  const compiler = spawnSync('x86_64-w64-mingw32-gcc', ['-dumpfullversion'], { encoding: 'utf8' }).stdout.trim();
  const result = {
    schemaVersion: SCHEMA_VERSION,
    context: {
      started,
      finished: new Date().toISOString(),
      commit: currentCommit(),
      seed: 1,
      quick: false,
      host,
      lanes: [
        {
          lane: 'wine',
          keys: false,
          keysReason,
          cpu: host.cpu,
          kernel: release(),
          details: {
            wine,
            compiler: `MinGW-w64 GCC ${compiler}`,
            what: 'behaviour only: what Wine does, which is not always what Windows does',
          },
        },
      ],
      versions: versions(),
      imageFile: null,
      spaces: ['eden', 'survivor', 'old', 'code', 'stack'].map((name) => ({ name, bytes: 65536 })),
    },
    records,
  };
  writeRun(directory, result);
  await writeReports(directory, result);
  const surprises = records.filter(({ surprise }) => surprise).length;
  process.stdout.write(`${records.length} records, ${surprises} surprises: ${directory}\n`);
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  fail(error);
}
