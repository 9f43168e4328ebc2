/**
 * The compatibility scores that are kept: each VM's own tests of its FFI, unguarded and under each mechanism.
 * Broken once: a difference without a reason; a guarded run without callouts.
 */
import { readFileSync } from 'node:fs';

import t from 'tap';

import { inProject } from '../../src/record/paths.js';

interface Score {
  readonly commit: string;
  readonly runs: readonly {
    readonly lane: string;
    readonly mechanism: string;
    readonly tests: number;
    readonly callouts: number;
    readonly counts: Readonly<Record<string, number>>;
    readonly differences: readonly { readonly test: string; readonly guarded: string; readonly because?: string }[];
  }[];
}

const NATIVE = ['native none', 'native flag', 'native mprotect-range'];
const BOTH = [...NATIVE, 'emulated none', 'emulated flag', 'emulated pkeys'];
/** How many tests there are, so that a suite that lost some is seen, and in how many a store is prevented. */
const SUITES = {
  ctypes: { tests: 495, stores: 0, lanes: BOTH },
  fiddle: { tests: 195, stores: 1, lanes: BOTH },
  koffi: { tests: 138, stores: 0, lanes: BOTH },
};

for (const [name, { tests, stores, lanes }] of Object.entries(SUITES))
  t.test(`the score of ${name}: only stores that should not be make a difference`, (t) => {
    const { commit, runs } = JSON.parse(
      readFileSync(inProject(`results/reference-hosts/${name}.json`), 'utf8'),
    ) as Score;
    t.match(commit, /^[0-9a-f]{40}$/);
    t.same(
      runs.map(({ lane, mechanism }) => `${lane} ${mechanism}`),
      lanes,
    );
    for (const { lane, mechanism, callouts, differences, ...run } of runs) {
      const about = `${lane} ${mechanism}`;
      t.equal(run.tests, tests, about);
      t.equal(
        Object.values(run.counts).reduce((sum, each) => sum + each, 0),
        tests,
        about,
      );
      t.equal(callouts > 0, mechanism !== 'none', `${about}: who was guarded`);
      const closes = mechanism === 'mprotect-range' || mechanism === 'pkeys';
      t.equal(differences.length, closes ? stores : 0, about);
      for (const { test, guarded, because } of differences) {
        t.match(because, /\w/, `${about}: ${test}`);
        t.match(guarded, /CalloutError: .* write 0x[0-9a-f]+ in the heap's space/, `${about}: ${test}`);
      }
    }
    t.end();
  });
