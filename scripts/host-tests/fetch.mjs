// Tests that others wrote of their FFIs: fetched through apt and npm into the cache folder, where they stay.

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { cacheFolder, runQuietly, SetupError } from '../setup.mjs';

/** The last version of koffi whose package holds its tests. */
export const KOFFI = '2.1.5';

/**
 * The folder `name` of the cache, which `fill` fills once, and wholly or not at all.
 * @param {string} name @param {string} from @param {(folder: string) => void} fill
 */
function once(name, from, fill) {
  const folder = join(cacheFolder(), 'host-tests', name);
  if (existsSync(folder)) return folder;
  if (process.env.TURNKEY_NO_INSTALL && process.env.TURNKEY_NO_INSTALL !== '0')
    throw new SetupError(`TURNKEY_NO_INSTALL is set, and ${folder} is not there`);
  process.stdout.write(`turnkey: fetching ${from} into ${folder}\n`);
  const partial = `${folder}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  fill(partial);
  renameSync(partial, folder);
  return folder;
}

/** @param {string} folder @param {string} name */
const found = (folder, name) => readdirSync(folder).find((each) => each.includes(name)) ?? '';

/** Runs apt-get with lists, sources and a cache in `folder`; the machine's own stay as they are. */
function aptIn(/** @type {string} */ folder, /** @type {readonly string[]} */ words, cwd = folder) {
  const options = [
    `Dir::Etc::sourcelist=${join(folder, 'sources.list')}`,
    'Dir::Etc::sourceparts=/dev/null',
    `Dir::State::lists=${join(folder, 'lists')}`,
    `Dir::Cache=${join(folder, 'cache')}`,
    'APT::Sandbox::User=root',
  ];
  runQuietly('apt-get', [...options.flatMap((option) => ['-o', option]), '-qq', ...words], { cwd });
}

/** The machine's own archives of Debian's, as archives of sources. @returns {string} */
function sourceArchives() {
  const format = '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)';
  const text = runQuietly('apt-get', ['indextargets', '--format', format, 'Created-By: Packages']);
  const archives = [...new Set(text.trim().split('\n'))].filter((line) => line.startsWith('Debian '));
  if (archives.length === 0) throw new SetupError("apt knows no archive of Debian's: its lists may be missing");
  return archives.map((line) => `deb-src ${line.slice('Debian '.length)}\n`).join('');
}

/**
 * Ruby's sources, as far as its tests of Fiddle need them: of the Debian release itself, as an archive of updates may
 * have lost theirs. Updates mend what the release has, and keep its version of Ruby.
 * @returns {string} their folder
 */
export function fiddleTests() {
  const release = /^VERSION_CODENAME=(\w+)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
  if (release === undefined) throw new SetupError("this is no release of Debian's: it has no sources of ruby3.1");
  const source = `ruby3.1/${release}`;
  return once(source.replace('/', '-'), `the sources of ${source}`, (folder) => {
    const apt = join(folder, 'apt');
    mkdirSync(join(apt, 'lists', 'partial'), { recursive: true });
    mkdirSync(join(apt, 'cache', 'archives', 'partial'), { recursive: true });
    writeFileSync(join(apt, 'sources.list'), sourceArchives());
    aptIn(apt, ['update']);
    aptIn(apt, ['source', '--download-only', '--only-source', source]);
    const parts = ['*/test/fiddle', '*/tool/lib'];
    const archive = join(apt, found(apt, '.orig.tar'));
    runQuietly('tar', ['-xf', archive, '-C', folder, '--strip-components=1', '--wildcards', ...parts]);
    rmSync(apt, { recursive: true });
  });
}

/** koffi's tests of its package, and the library that they call. @returns {string} their folder */
export function koffiTests() {
  const name = `koffi-${KOFFI}`;
  return once(name, `the npm package koffi@${KOFFI}`, (folder) => {
    runQuietly('npm', ['pack', `koffi@${KOFFI}`, '--silent', '--pack-destination', folder], { cwd: folder });
    const archive = join(folder, found(folder, '.tgz'));
    const tests = 'package/src/koffi/test';
    runQuietly('tar', ['-xf', archive, '-C', folder, `--strip-components=${tests.split('/').length}`, tests]);
    rmSync(archive);
    mkdirSync(join(folder, 'build'));
    const output = join(folder, 'build', 'misc.so');
    runQuietly('cc', ['-shared', '-fPIC', '-O1', '-w', '-o', output, join(folder, 'misc.c')]);
  });
}
