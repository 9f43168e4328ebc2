/**
 * Finds and loads the addon: what cmake-js built below build/, else the prebuilt binary of the package below prebuilds/
 * (the npm package pkg-prebuilds finds them). One binary serves every Node since Node-API 8, which Node 20 has.
 */
import './platform.js';

import loadBinding from 'pkg-prebuilds';

import { plainError } from './platform.js';
import { findRoot } from './root.js';

/** How the binary is named: prebuilds/turnkey-linux-x64/node-napi-v8.node. */
const BINARY = { name: 'turnkey', napi_versions: [8] };

const BUILD_IT =
  'build it with `npm rebuild turnkey` (a C++ compiler and CMake; ' +
  'npm 11 asks first: `npm install-scripts approve turnkey`), in a checkout with `npm run build:native`';

/**
 * The addon.
 * @throws Error with code 'ERR_ADDON_MISSING' where there is none for this system, 'ERR_ADDON_GLIBC' where the C
 * library is too old for it; whatever the loader says where it does not load for another reason
 */
export function loadAddon(): unknown {
  const root = findRoot() ?? '';
  try {
    return loadBinding(root, BINARY);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    if (text.startsWith('Failed to find binding'))
      throw plainError('ERR_ADDON_MISSING', `There is no Turnkey addon in ${root}: ${BUILD_IT}.`);
    const wanted = /version [`'](GLIBC(?:XX)?_[\d.]+)' not found/.exec(text)?.[1];
    if (wanted === undefined) throw error;
    throw plainError('ERR_ADDON_GLIBC', `The Turnkey addon needs ${wanted}, which this system lacks: ${BUILD_IT}.`);
  }
}
