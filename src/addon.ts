/**
 * Finds and loads the addon: what cmake-js built below build/, else the prebuilt binary of the package below prebuilds/
 * (the npm package pkg-prebuilds finds them). One binary serves every Node since Node-API 8, which Node 20 has.
 */
import './platform.js';

import loadBinding from 'pkg-prebuilds';

import { plainError } from './platform.js';
import { findRoot } from './root.js';

/** How the binary is named: PREBUILT in root.ts. */
const BINARY = { name: 'turnkey', napi_versions: [8] };

/* Its types leave this function out. */
const { resolve } = loadBinding as unknown as {
  resolve(root: string, binary: typeof BINARY, verify: boolean, throwOnMissing: boolean): string;
};

const BUILD_IT =
  'build it with `npm rebuild turnkey` (a C++ compiler and CMake; ' +
  'npm 11 asks first: `npm install-scripts approve turnkey`), in a checkout with `npm run build:native`';

/**
 * The addon.
 * @throws Error with code 'ERR_ADDON_MISSING' where there is none for this system, 'ERR_ADDON_GLIBC' where the C
 * library is too old for it, 'ERR_ADDON_PERMISSION' where Node may not load addons; whatever the loader says where the
 * addon does not load for another reason
 */
export function loadAddon(): unknown {
  const root = findRoot() ?? '';
  try {
    return loadBinding(root, BINARY);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    if (error instanceof Error && 'code' in error && error.code === 'ERR_DLOPEN_DISABLED')
      throw plainError(
        'ERR_ADDON_PERMISSION',
        `Node may not load the Turnkey addon ${resolve(root, BINARY, false, false)}: its permission model needs ` +
          '--allow-addons, and --no-addons keeps out all addons.',
      );
    if (text.startsWith('Failed to find binding'))
      throw plainError('ERR_ADDON_MISSING', `There is no Turnkey addon in ${root}: ${BUILD_IT}.`);
    const wanted = /version [`'](GLIBC(?:XX)?_[\d.]+)' not found/.exec(text)?.[1];
    if (wanted === undefined) throw error;
    throw plainError('ERR_ADDON_GLIBC', `The Turnkey addon needs ${wanted}, which this system lacks: ${BUILD_IT}.`);
  }
}
