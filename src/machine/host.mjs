/**
 * What scripts/setup.mjs and the harness both know of this machine. Plain JavaScript, since the set-up runs before
 * there is a compiler.
 */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * Where what was fetched is kept: TURNKEY_CACHE, or `turnkey` under XDG_CACHE_HOME or ~/.cache.
 * @returns {string}
 */
export function cacheFolder() {
  const { TURNKEY_CACHE: named, XDG_CACHE_HOME: xdg } = process.env;
  return named || join(xdg || join(homedir(), '.cache'), 'turnkey');
}

/**
 * The first processor of /proc/cpuinfo; `text` stands for the file.
 * @param {string} text
 * @returns {{ readonly model: string, readonly flags: ReadonlySet<string> }}
 */
export function parseCpuinfo(text) {
  const field = (/** @type {string} */ name) => new RegExp(`^${name}\\s*:(.*)$`, 'm').exec(text)?.[1]?.trim() ?? '';
  return { model: field('model name') || 'unknown', flags: new Set(field('flags').split(' ')) };
}

/**
 * This machine's, empty where there is no such file.
 * @returns {ReturnType<typeof parseCpuinfo>}
 */
export function hostCpu() {
  try {
    return parseCpuinfo(readFileSync('/proc/cpuinfo', 'utf8'));
  } catch {
    return parseCpuinfo('');
  }
}

/**
 * Whether the CPU has keys and the kernel uses them.
 * @param {ReadonlySet<string>} flags
 * @returns {boolean}
 */
export function showsKeys(flags) {
  return flags.has('pku') && flags.has('ospke');
}
