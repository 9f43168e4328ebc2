/** Settings in which an image cannot have a virtual key (native/pkeys/pkeys_virtual.h). */
import type { Setting } from './case.js';

/** Why; undefined where it can, or has a key of another kind. */
export function cannotKey({
  mechanism,
  keys,
  harden,
}: Pick<Setting, 'mechanism' | 'keys' | 'harden'>): string | undefined {
  if (keys !== 'virtual') return undefined;
  if (mechanism === 'pkeys-glibc') return 'pkey_set(3) beside the gate follows no key that changes: no virtual keys';
  if (mechanism === 'pkeys' && (harden === 'seal' || harden === 'all'))
    return 'the kernel gives sealed pages no other key: no virtual keys';
  return undefined;
}
