/** run.json: the schema on write and on read, versions, and writing that is whole or not at all. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import t from 'tap';

import { RunFormatError } from '../../src/record/errors.js';
import { checkRun } from '../../src/record/schema.js';
import { readRun, writeRun, writeWhole } from '../../src/record/store.js';
import { exampleRun } from '../support/example-run.js';

t.test('a run comes back as it was written', (t) => {
  const directory = join(t.testdir(), 'new', 'run');
  const path = writeRun(directory, exampleRun);
  t.same(readRun(directory), exampleRun);
  t.same(readRun(path), exampleRun);
  t.same(readdirSync(directory), ['run.json'], 'no temporary file stays');
  t.end();
});

t.test('unknown versions are refused by name', (t) => {
  for (const schemaVersion of [0, 3, '1', '2', null]) {
    t.throws(() => checkRun({ ...exampleRun, schemaVersion }, 'x/run.json'), {
      name: 'RunFormatError',
      message: /x\/run\.json has schemaVersion .*reads 1 and 2$/,
    });
  }
  t.throws(() => checkRun({ context: {} }, 'run.json'), { message: /no schemaVersion/ });
  t.throws(() => checkRun([], 'run.json'), { message: /no schemaVersion/ });
  t.throws(() => checkRun(null, 'run.json'), { message: /no schemaVersion/ });
  t.end();
});

t.test('every departure from the schema is refused, and the message says where', (t) => {
  const bad = (change: (run: Record<string, unknown>, records: Record<string, unknown>[]) => void): unknown => {
    const copy = JSON.parse(JSON.stringify(exampleRun)) as Record<string, unknown>;
    change(copy, copy['records'] as Record<string, unknown>[]);
    return copy;
  };
  const cases: readonly [string, unknown, RegExp][] = [
    [
      'a missing field',
      bad((run) => {
        delete run['context'];
      }),
      /context/,
    ],
    [
      'an unknown field',
      bad((run) => {
        run['more'] = 1;
      }),
      /more/,
    ],
    [
      'an unknown verdict',
      bad((_, records) => {
        if (records[0]) records[0]['verdict'] = 'fine';
      }),
      /\/records\/0\/verdict/,
    ],
    [
      'an unknown kind',
      bad((_, records) => {
        if (records[0]) records[0]['kind'] = 'story';
      }),
      /\/records\/0/,
    ],
    [
      'a time from the emulated lane',
      bad((_, records) => {
        for (const one of records)
          if (one['kind'] === 'cost') {
            one['lane'] = 'emulated';
            one['unit'] = 'ns';
          }
      }),
      /\/unit/,
    ],
    [
      'a count in the native lane',
      bad((_, records) => {
        for (const one of records)
          if (one['kind'] === 'cost') {
            one['lane'] = 'native';
            one['unit'] = 'instructions';
          }
      }),
      /\/unit/,
    ],
    [
      'no samples',
      bad((_, records) => {
        for (const one of records) if (one['kind'] === 'cost') one['samples'] = [];
      }),
      /samples/,
    ],
  ];
  for (const [name, value, message] of cases)
    t.throws(() => checkRun(value, 'run.json'), { name: 'RunFormatError', message }, name);
  t.throws(
    () =>
      writeRun(
        t.testdir(),
        bad((run) => {
          run['more'] = 1;
        }) as never,
      ),
    RunFormatError,
    'nothing wrong is written',
  );
  t.end();
});

t.test('what cannot be read says so', (t) => {
  const directory = t.testdir({ text: { 'run.json': '{"schemaVersion": 1,' }, empty: {} });
  t.throws(() => readRun(join(directory, 'text')), { message: /is not JSON/ });
  t.throws(() => readRun(join(directory, 'empty')), { message: /cannot read .*run\.json: no such file/ });
  t.throws(() => readRun(join(directory, 'nowhere')), { message: /cannot read .*nowhere: no such file/ });
  t.end();
});

t.test('a failed write leaves the old file whole and nothing beside it', (t) => {
  const directory = t.testdir({ 'run.json': 'old' });
  mkdirSync(join(directory, 'taken', 'x'), { recursive: true });
  t.throws(
    () => {
      writeWhole(join(directory, 'taken'), 'new');
    },
    { message: /cannot write .*taken: it is a directory/ },
  );
  t.throws(
    () => {
      writeWhole(join(directory, 'run.json', 'below'), 'new');
    },
    { message: /cannot write/ },
  );
  t.equal(readFileSync(join(directory, 'run.json'), 'utf8'), 'old');
  t.same(readdirSync(directory).sort(), ['run.json', 'taken']);
  t.end();
});

t.test('a full disk: clear error, old results whole', (t) => {
  const mount = mkdtempSync(join(tmpdir(), 'turnkey-small-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', mount], { stdio: 'ignore' });
  } catch {
    rmdirSync(mount);
    if ((process.env['TURNKEY_STRICT'] ?? '0') !== '0') t.fail('a small file system could not be mounted');
    else t.pass('a small file system', { skip: 'mounting one needs privileges' });
    t.end();
    return;
  }
  t.teardown(() => {
    execFileSync('umount', [mount]);
    rmdirSync(mount);
  });
  const path = join(mount, 'run.json');
  writeFileSync(path, 'old');
  t.throws(
    () => {
      writeWhole(path, 'x'.repeat(1 << 20));
    },
    { name: 'ExperimentError', message: `cannot write ${path}: the disk is full` },
  );
  t.equal(readFileSync(path, 'utf8'), 'old');
  t.same(readdirSync(mount), ['run.json']);
  t.ok(existsSync(path));
  t.end();
});
