/**
 * lanes: native
 * Which package the set-up takes the guest's kernel from, where the image package holds none.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import t from 'tap';

import { inProject } from '../../src/record/paths.js';

const { kernelBinaryPackage, kernelFromModules } = (await import(
  pathToFileURL(inProject('scripts/setup.mjs')).href
)) as {
  readonly kernelBinaryPackage: (depends: string) => string | undefined;
  readonly kernelFromModules: (folder: string) => void;
};

t.test('the package with the kernel, from what apt-cache says', (t) => {
  const name = 'linux-binary-7.2.13+deb14-cloud-amd64';
  const image = 'linux-image-7.2.13+deb14-cloud-amd64';
  t.equal(kernelBinaryPackage(`${image}\n  Depends: ${name}\n  Depends: linux-modules-7.2.13\n`), name);
  t.equal(kernelBinaryPackage(`${image}\n  PreDepends: ${name}\n`), name);
  t.equal(kernelBinaryPackage(`${image}\n |Depends: ${name}\n  Depends: ${name}-unsigned\n`), name);
  t.equal(kernelBinaryPackage(`${image}\n  Depends: <linux-binary-virtual>\n    ${name}\n`), undefined);
  t.equal(kernelBinaryPackage(`${image}\n  Depends: kmod\n  Recommends: ${name}\n`), undefined);
  t.equal(kernelBinaryPackage(''), undefined);
  t.end();
});

t.test('a kernel beside its modules is moved to boot', (t) => {
  const folder = t.testdir({ usr: { lib: { modules: { '7.2.13': { vmlinuz: 'x' }, '7.2.12': {} } } } });
  kernelFromModules(folder);
  t.same(readdirSync(join(folder, 'boot')), ['vmlinuz-7.2.13']);
  const none = t.testdir({ usr: {} });
  kernelFromModules(none);
  t.same(readdirSync(none), ['usr']);
  t.end();
});
