/** Which mechanism a guard uses, and why. */
import { hostMechanism } from './host.js';
import { GUARD_MECHANISMS, type GuardMechanism, isGuardMechanism, needsKeys, probe } from './vm.js';

/** The mechanism asked for, or what 'auto' finds; and the reason. Throws where it cannot be had. */
export function chooseMechanism(
  asked: GuardMechanism | 'auto',
  hasImage: boolean,
  settled?: GuardMechanism,
): readonly [GuardMechanism, string] {
  // An image has one mechanism. It has its keys, or its place in the pool, though no key may be left to try.
  if (settled !== undefined && (asked === 'auto' || asked === settled))
    return [settled, asked === 'auto' ? 'auto: the image is behind it already' : 'asked for'];
  const host = hasImage || asked === 'none' ? undefined : hostMechanism();
  if (host !== undefined && (asked === 'auto' || asked === host))
    return [host, "turnkey guard has put this process's heap behind it"];
  if (asked === 'auto') {
    if (!hasImage) return ['flag', 'auto: there is no image to protect'];
    const keys = probe();
    return keys.usable
      ? ['pkeys', 'auto: protection keys are usable']
      : ['mprotect-range', `auto: no protection keys (${keys.reason})`];
  }
  if ((asked as string) === 'pkeys-model' || (asked as string) === 'process') {
    throw new Error(`mechanism '${String(asked)}' protects nothing in this process: it is for cost experiments only`);
  }
  if (!isGuardMechanism(asked))
    throw new TypeError(`unknown mechanism '${String(asked)}': use 'auto' or one of ${GUARD_MECHANISMS.join(', ')}`);
  if (!hasImage && asked !== 'flag' && asked !== 'none')
    throw new TypeError(
      `mechanism '${asked}' protects an image: give one, or start the program by ` +
        `\`npx turnkey guard --mechanism ${asked} -- node …\`, which has V8's own heap for an image`,
    );
  if (needsKeys(asked)) {
    const keys = probe();
    if (!keys.usable) throw new Error(`mechanism '${asked}' cannot be had here: ${keys.reason}`);
  }
  return [asked, 'asked for'];
}
