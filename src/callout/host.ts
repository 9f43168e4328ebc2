/**
 * The mechanism that `turnkey guard` has put this process's own heap behind. A preloaded library (native/host) has done
 * that before Node started, and shares its trap and registry with the addon.
 */
import { binding } from './binding.js';
import { ffi, functionAt } from './koffi.js';
import { type GuardMechanism, isGuardMechanism } from './vm.js';

const RTLD_DEFAULT = 0n;

/** What the preloaded library says; undefined where there is none. */
export function hostMechanism(): GuardMechanism | undefined {
  const address = binding.dlsym(RTLD_DEFAULT, 'turnkey_host_mechanism');
  if (address === 0n) return undefined;
  const name = functionAt(address, ffi.proto('const char *', []))() as string;
  return isGuardMechanism(name) ? name : undefined;
}
