// lanes: native, emulated
/**
 * A process that may not have keys, by a seccomp filter. The library loads, and what needs no keys works. The probe
 * names the call, its errno and who is likely to refuse it. native/test/pkeys_refused.c has every call and answer.
 */
import { spawnSync } from 'node:child_process';

import t from 'tap';

import { type Probe, probe } from '../../src/index.js';
import { built, FOREIGN_FAULTS } from '../support/callout.js';

interface Seen {
  readonly probe: Probe;
  readonly pkeys: string;
  readonly auto: string;
  readonly because: string;
  readonly flag: string;
}

const SCRIPT = `
import { Guard, Image, probe } from '${new URL('../../src/index.js', import.meta.url).href}';
const image = () => Image.map({ spaces: [{ name: 'old', bytes: 65536 }] });
const seen = { probe: probe() };
try {
  new Guard({ image: image(), mechanism: 'pkeys' });
  seen.pkeys = '';
} catch (error) {
  seen.pkeys = error.message;
}
const auto = new Guard({ image: image() });
seen.auto = auto.mechanism;
seen.because = auto.chosenBecause;
const crash = new Guard({ image: image(), mechanism: 'flag' }).load(${JSON.stringify(FOREIGN_FAULTS)})
  .func('void foreign_null_write()');
try { crash(); seen.flag = 'nothing'; } catch (error) { seen.flag = error.code; }
console.log(JSON.stringify(seen));
`;

/** What a process sees that is refused `call` with `answer`. */
function under(call: string, answer: string): Seen {
  const { status, signal, stdout, stderr } = spawnSync(
    built('turnkey-refuse'),
    [call, answer, process.execPath, '--input-type=module', '-e', SCRIPT],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`${call} ${answer}: ${String(signal ?? status)}\n${stdout}${stderr}`);
  return JSON.parse(stdout) as Seen;
}

const hasKeys = probe().usable;

// Node itself asks for a key when it starts, and dies of a filter that kills there.
const REFUSED = { pkey_alloc: ['EPERM', 'ENOSYS'], pkey_mprotect: ['EPERM', 'ENOSYS', 'kill'] };
for (const [call, answers] of Object.entries(REFUSED))
  for (const answer of answers)
    // Broken once: pkeys_init gave the error of pkey_mprotect back, so that the addon did not load.
    t.test(`${call} refused (${answer}): flag and mprotect work, and the reason names the call and its answer`, (t) => {
      const seen = under(call, answer);
      t.equal(seen.flag, 'ERR_CALLOUT_FAULT');
      t.equal(seen.auto, 'mprotect-range');
      t.equal(seen.probe.usable, false);
      t.equal(seen.probe.filtered, true);
      t.match(seen.pkeys, seen.probe.reason);
      t.match(seen.because, seen.probe.reason);
      if (hasKeys) {
        t.equal(seen.probe.failedCall, call);
        t.match(seen.probe.reason, call);
        t.match(seen.probe.reason, answer === 'kill' ? 'SIGSYS' : answer);
        t.match(seen.probe.reason, /seccomp filter.*container.*allow pkey_alloc, pkey_mprotect and pkey_free/);
      }
      t.end();
    });

t.test('pkey_free refused: keys work, and a warning says what becomes of them', (t) => {
  const seen = under('pkey_free', 'EPERM');
  t.equal(seen.flag, 'ERR_CALLOUT_FAULT');
  t.equal(seen.auto, hasKeys ? 'pkeys' : 'mprotect-range');
  if (hasKeys) t.match(seen.probe.warning, /pkey_free is refused/);
  t.end();
});
