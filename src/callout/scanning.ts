/** Keeps libraries out, or warns of them, that hold instructions which write rights to keys. */
import { realpathSync } from 'node:fs';

import { isDangerous, scanFile, withNeeded } from '../scan/index.js';
import { binding } from './binding.js';

/** What becomes of a library that holds WRPKRU, XRSTOR or XRSTORS: an error, a warning, nothing. */
export const SCAN_MODES = ['refuse', 'warn', 'off'] as const;
export type ScanMode = (typeof SCAN_MODES)[number];

function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/**
 * Searches a library and what it needs, but for what is loaded already, before any of it runs.
 * @throws Error 'ERR_SCAN_REFUSED' in mode 'refuse'; TypeError for another mode
 */
export function scanBeforeLoading(name: string, mode: ScanMode): void {
  if (!SCAN_MODES.includes(mode))
    throw new TypeError(`scan must be ${SCAN_MODES.map((known) => `'${known}'`).join(', ')}`);
  if (mode === 'off') return;
  const loaded = new Set(binding.modules().map(({ path }) => real(path)));
  for (const path of withNeeded(name, (file) => loaded.has(real(file)))) {
    const dangerous = scanFile(path).found.filter(isDangerous);
    const [first] = dangerous;
    if (first === undefined) continue;
    const where = `${first.instruction} at 0x${first.address.toString(16)} in ${first.symbol ?? 'no function'}`;
    const text = `library '${path}' can write rights to keys: ${where}, ${dangerous.length} place(s) in all`;
    if (mode === 'refuse') throw Object.assign(new Error(`cannot load ${text}`), { code: 'ERR_SCAN_REFUSED' });
    process.emitWarning(text, { type: 'TurnkeyScanWarning' });
  }
}
