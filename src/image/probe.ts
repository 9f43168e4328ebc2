import { native, type Probe } from '../native.js';

/** Finds out by doing what protection keys this machine has, afresh at each call. Leaves nothing behind. */
export function probe(): Probe {
  return Object.freeze(native.probe());
}
