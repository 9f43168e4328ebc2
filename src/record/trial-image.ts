/** The image that trials use. */

const KIB = 1024;

/**
 * Small: each trial makes, copies and compares it anew, and under mprotect-page every callout and every callback of it
 * costs two system calls per page.
 */
export const TRIAL_SPACES: readonly { readonly name: string; readonly bytes: number }[] = [
  { name: 'eden', bytes: 128 * KIB },
  { name: 'survivor', bytes: 16 * KIB },
  { name: 'old', bytes: 256 * KIB },
  { name: 'code', bytes: 32 * KIB },
  { name: 'stack', bytes: 16 * KIB },
];
