/** What Turnkey knows of VMs: the adapters of native/host, and what the command line must know of each. */
import { basename } from 'node:path';

/** The names of native/host's adapters; a test compares them. */
export const ADAPTERS = ['cpython', 'node', 'ruby', 'squeak', 'ffi'] as const;
export type Adapter = (typeof ADAPTERS)[number];

/** The VM that an executable seems to be; the preloaded library looks closer. */
export function seemsToBe(executable: string): 'node' | 'python' | 'ruby' | 'other' {
  const name = basename(executable);
  if (/^(node|nodejs)([\d.]*)$/.test(name)) return 'node';
  if (/^python[\d.]*$/.test(name)) return 'python';
  if (/^ruby[\d.]*$/.test(name)) return 'ruby';
  return 'other';
}
