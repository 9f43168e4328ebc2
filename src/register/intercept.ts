/**
 * Where koffi becomes a guarded one: at its addon. Both of koffi's entries, import and require(), read that addon and
 * export what it holds, and so do bundled copies. Node loads addons by process.dlopen in every thread and in every
 * version, so no loader hook is needed, and other people's loader hooks do not matter.
 */
import { realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, sep } from 'node:path';

import type * as Guarded from './guarded.js';
import { guardedSurface, type KoffiAddon } from './surface.js';

const require = createRequire(import.meta.url);

type Dlopen = (module: { exports: unknown }, filename: string, flags?: number) => void;

/** Major version of the koffi that guards serve. */
const SERVED = '3.';

let library: typeof Guarded | undefined;

/** The library: loaded when it is first needed. */
function guarded(): typeof Guarded {
  library ??= require('./guarded.js') as typeof Guarded;
  return library;
}

function isKoffi(exports: unknown): exports is KoffiAddon {
  if (typeof exports !== 'object' || exports === null || !('version' in exports)) return false;
  const names = ['LibraryHandle', 'load', 'decode', 'register', 'disposable'];
  return names.every((name) => typeof (exports as Record<string, unknown>)[name] === 'function');
}

/** Whether an addon's file belongs to the koffi that Turnkey itself imports. */
function isOwn(filename: string): boolean {
  const koffi = dirname(require.resolve('koffi'));
  const folders = [koffi, join(dirname(koffi), '@koromix', `koffi-${process.platform}-${process.arch}`)];
  return folders.some((folder) => {
    try {
      return realpathSync(filename).startsWith(`${realpathSync(folder)}${sep}`);
    } catch {
      return false; // no such folder
    }
  });
}

/** What stands in the place of a koffi addon's exports: itself, where guards cannot serve it. */
function replacement(addon: KoffiAddon, filename: string): KoffiAddon {
  if (!addon.version.startsWith(SERVED)) {
    process.emitWarning(`koffi ${addon.version} (${filename}) stays unguarded: Turnkey guards koffi ${SERVED}x`, {
      code: 'TURNKEY_KOFFI_VERSION',
    });
    return addon;
  }
  // Another copy's types would be strangers to the guard: that copy gets the functions of Turnkey's.
  const own = isOwn(filename) ? addon : (guarded().ffi as unknown as KoffiAddon);
  return guardedSurface(own, addon.version, guarded);
}

/** From now on whatever loads koffi in this thread gets a guarded one. `loaded`: the library, where it is there. */
export function watchForKoffi(loaded: typeof Guarded | undefined): void {
  library = loaded;
  const dlopen = process.dlopen as Dlopen;
  const watching: Dlopen = (module, filename, ...rest) => {
    dlopen.call(process, module, filename, ...rest);
    if (isKoffi(module.exports)) module.exports = replacement(module.exports, filename);
  };
  process.dlopen = watching as typeof process.dlopen;
}
