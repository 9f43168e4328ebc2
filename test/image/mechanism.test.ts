// lanes: native, emulated
/**
 * The one list of mechanisms, against the C layers' own and against what its facts say of them.
 * Broken once: 'pkeys-glibc' left out of the list, and 'mprotect-naive' renamed in registry.c; the first test failed.
 */
import t from 'tap';

import { closesImage, GUARD_MECHANISMS, hasTrap, holdsThroughout, needsKeys } from '../../src/image/mechanism.js';
import { Guard, Image, probe } from '../../src/index.js';
import { native } from '../../src/native.js';

t.test('the list is that of pkeys_mechanism_name', (t) => {
  t.same(GUARD_MECHANISMS, native.mechanisms);
  t.end();
});

t.test('what needs keys is what cannot be had without them', (t) => {
  const { usable } = probe();
  for (const mechanism of GUARD_MECHANISMS) {
    const image = Image.map({ spaces: [{ name: 'old', bytes: 4096 }] });
    const guarded = (): void => {
      new Guard({ image, mechanism }).close();
    };
    if (needsKeys(mechanism) && !usable) t.throws(guarded, /cannot be had here/, mechanism);
    else t.doesNotThrow(guarded, mechanism);
    image.close();
  }
  t.end();
});

t.test('what closes no image can be used without one', (t) => {
  for (const mechanism of GUARD_MECHANISMS.filter((name) => !needsKeys(name) || probe().usable)) {
    const guarded = (): void => {
      new Guard({ mechanism }).close();
    };
    if (closesImage(mechanism)) t.throws(guarded, /protects an image/, mechanism);
    else t.doesNotThrow(guarded, mechanism);
  }
  t.end();
});

t.test('a mechanism that holds throughout closes the image, by a trap; one that guards nothing has no facts', (t) => {
  t.same(
    GUARD_MECHANISMS.filter((name) => closesImage(name) && !holdsThroughout(name)),
    ['mprotect-naive'],
  );
  t.same(
    GUARD_MECHANISMS.filter((name) => holdsThroughout(name) && !hasTrap(name)),
    [],
  );
  t.same([needsKeys('process'), closesImage('process')], [false, false]);
  t.end();
});
