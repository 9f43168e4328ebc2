/**
 * Lets the callee of one choice do harm, in a process of its own, and prints in a word what came of the caller:
 *
 *   CalloutError, error   the caller was told, and its memory is intact
 *   damaged               the caller's memory is damaged
 *   unharmed              nothing happened to the caller
 *
 *   node choices-harm.js CHOICE MECHANISM HARM
 *
 * A caller that dies prints nothing: whoever started this sees how it died.
 */
import { CalloutError } from '../../src/callout/error.js';
import { Guard } from '../../src/callout/guard.js';
import { ffi } from '../../src/callout/koffi.js';
import { Image } from '../../src/image/image.js';
import type { GuardMechanism } from '../../src/image/mechanism.js';
import { chooseHere, type InNode } from './choices.js';
import type { Harm } from './choices-work.js';

async function main(choice: InNode, mechanism: GuardMechanism, harm: Harm): Promise<string> {
  const image = Image.map({ spaces: [{ name: 'old', bytes: 1 << 16 }] });
  image.fill(1);
  image.snapshot();
  const guard = new Guard({ image, mechanism });
  const heap = BigInt(ffi.load('libc.so.6').func('uintptr_t calloc(size_t count, size_t bytes)')(1, 64) as number);
  const target = harm === 'image write' ? image.space('old').address + 64n : heap;
  const ready = await chooseHere(choice, 'int(int, int)', guard);
  let told = 'unharmed';
  try {
    await ready.harm(harm, target);
  } catch (error) {
    told = error instanceof CalloutError ? 'CalloutError' : 'error';
  }
  const bytes = ffi.decode(heap, 'uint8_t', 64) as ArrayLike<number>;
  return Array.from(bytes).some((byte) => byte !== 0) || image.diff().changedBytes > 0 ? 'damaged' : told;
}

const [choice, mechanism, harm] = process.argv.slice(2) as [InNode, GuardMechanism, Harm];
void main(choice, mechanism, harm).then((seen) => {
  process.stdout.write(seen, () => process.exit(0));
});
