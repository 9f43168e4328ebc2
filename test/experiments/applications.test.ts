// limit: 120 s
/**
 * The applications of cost experiments do their work, count their crossings, and notice when it comes out wrong; the
 * model of keys protects nothing and passes for no mechanism.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

import t from 'tap';

import { applicationNamed, APPLICATIONS, timeUnits } from '../../experiments/support/applications.js';
import { openImage } from '../../experiments/support/cost-guard.js';
import { TEXT_BYTES, textFile } from '../../experiments/support/text-file.js';
import { binding } from '../../src/callout/binding.js';
import { Guard } from '../../src/callout/guard.js';
import { probe } from '../../src/callout/vm.js';
import { loadCost } from '../../src/experiment/catalogue.js';
import type { GuardMechanism } from '../../src/image/mechanism.js';
import { inProject } from '../../src/record/paths.js';

t.test('the file is 16 MiB of text, the same each time, and named by its hash', (t) => {
  const first = textFile();
  t.equal(first.bytes.length, TEXT_BYTES);
  t.equal(
    createHash('sha256')
      .update(readFileSync(inProject('build/text-16m')))
      .digest('hex'),
    first.sha256,
  );
  t.equal(textFile().sha256, first.sha256);
  const text = first.bytes.subarray(0, 1 << 20);
  t.ok(text.filter((byte) => byte === 10 || (byte >= 32 && byte < 127)).length > 0.98 * text.length, 'text it is');
  t.end();
});

const guard = new Guard({ mechanism: 'flag' });
for (const application of APPLICATIONS) {
  t.test(`${application.name}: its units come out right, the same crossings each time`, (t) => {
    const [one, other] = [timeUnits(application, guard, 2, 2), timeUnits(application, guard, 2, 2)];
    if ('skipped' in one || 'skipped' in other) {
      t.match('skipped' in one ? one.skipped : '', application.library, 'says which library is missing');
      t.end();
      return;
    }
    t.equal(one.samples.length, 2);
    t.ok(one.samples.every((ns) => ns > 0));
    t.ok(one.crossings.callouts + one.crossings.callbacks >= 4);
    t.same(one.crossings, other.crossings);
    t.end();
  });
}

t.test('guarded copies are counted as they are made', (t) => {
  const { copy, copyString } = binding;
  let made = 0;
  const counting = binding;
  counting.copy = (...args) => {
    made++;
    return copy(...args);
  };
  counting.copyString = (...args) => {
    made++;
    return copyString(...args);
  };
  t.teardown(() => {
    counting.copy = copy;
    counting.copyString = copyString;
  });
  for (const name of ['qsort', 'sqlite3, select', 'png decode']) {
    const work = applicationNamed(name).start(guard, 0);
    made = 0;
    const { reads } = work.unit(0);
    t.equal(reads, made, name);
  }
  t.end();
});

t.test('a library that is not there is a reason, not an error', (t) => {
  const missing = { ...applicationNamed('qsort'), library: 'libturnkey_nowhere.so.9' };
  t.match(timeUnits(missing, guard, 0, 1), { skipped: /libturnkey_nowhere\.so\.9/ });
  t.end();
});

t.test(
  'rows of the model are in a lane of their own, name their cycles, and are skipped with a reason where there are keys',
  async (t) => {
    const experiment = await loadCost('model-run');
    const setting = { lane: 'native', quick: false, cores: 2 } as const;
    t.match(experiment.rows({ ...setting, keys: true }), [{ skip: /measured, not modelled/ }]);
    t.equal(experiment.rows({ ...setting, keys: true }).length, 1);
    const rows = experiment.rows({ ...setting, keys: false });
    const model = rows.filter(({ mechanism }) => mechanism === 'pkeys-model');
    t.equal(model.length, 3 * APPLICATIONS.length);
    t.ok(model.every(({ lane, parameters }) => lane === 'model' && typeof parameters['cycles'] === 'number'));
    t.ok(rows.every(({ mechanism, lane }) => (mechanism === 'pkeys-model') === (lane === 'model')));
  },
);

t.test('the model is refused as a mechanism, protects nothing, and is refused where there are keys', (t) => {
  t.throws(() => new Guard({ mechanism: 'pkeys-model' as GuardMechanism }), /protects nothing/);
  const row = { mechanism: 'pkeys-model', lane: 'model', parameters: { cycles: 60 } } as const;
  if (probe().usable) {
    t.throws(() => openImage(row, 65536), /model/);
    t.end();
    return;
  }
  const { guard: open, image, reachedCycles } = openImage(row, 65536);
  t.teardown(() => {
    binding.model(0);
    open.close();
    image.close();
  });
  t.ok(reachedCycles > 0);
  t.equal(open.mechanism, 'flag', 'it does not call itself protection');
  const memset = open.load('libc.so.6').func('void *memset(void *to, int byte, size_t count)');
  memset(image.space('old').address, 0x5a, 8);
  t.equal(image.space('old').read(0, 1)[0], 0x5a, 'the store lands');
  t.end();
});
