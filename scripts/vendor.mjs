// What only the harness needs does not burden the library's user. Its npm packages are devDependencies, bundled into
// dist/vendor/. The compiled files of src/ and experiments/ import them from there. A checkout and the package run the
// same files. Left as they are: what package.json says that a user installs (dependencies, peerDependencies). Part of
// `npm run build:ts` (scripts/bundle.mjs).

import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';

import { build } from 'esbuild';
import ts from 'typescript';

import { root } from './setup.mjs';

const dist = join(root, 'dist');
const vendor = join(dist, 'vendor');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const installed = new Set([
  ...Object.keys(manifest.dependencies ?? {}),
  ...Object.keys(manifest.peerDependencies ?? {}),
  ...builtinModules,
]);

/** A package's name: the first part of a specifier, or the first two of a scoped one. */
const packageOf = (/** @type {string} */ specifier) => /^(@[^/]+\/[^/]+|[^/]+)/.exec(specifier)?.[0] ?? specifier;
const isVendored = (/** @type {string} */ specifier) =>
  !/^(\.|\/|node:|#)/.test(specifier) && !installed.has(packageOf(specifier));
/** A specifier's file in dist/vendor. */
const fileOf = (/** @type {string} */ specifier) => `${specifier.replaceAll('/', '-').replace('@', '')}.js`;

/** The compiled files of src/ and experiments/. */
function compiledFiles() {
  return ['src', 'experiments'].flatMap((folder) =>
    readdirSync(join(dist, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.m?js$/.test(name))
      .map((name) => join(dist, folder, name)),
  );
}

/** The vendored imports of a file: specifier and place, the last first, so that places stay true while replacing. */
function vendoredImports(/** @type {string} */ text) {
  return ts
    .preProcessFile(text, true, true)
    .importedFiles.filter(({ fileName }) => isVendored(fileName))
    .sort((a, b) => b.pos - a.pos);
}

/**
 * benchmark looks for its two packages in a way that no bundler follows. It takes 30 functions of lodash: those that
 * its text names after `_.`, and those that it makes its own by a list of names. It goes without the other, whose words
 * for browsers nothing here reads.
 */
/** @type {import('esbuild').Plugin} */
const benchmarkRequires = {
  name: 'benchmark-requires',
  setup({ onLoad }) {
    onLoad({ filter: /[/\\]benchmark[/\\]benchmark\.js$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      const list = /_\.each\(\[([^\]]*)\], function\(methodName\) \{\s*Benchmark\[methodName\] = _\[methodName\];/.exec(
        text,
      );
      if (list?.[1] === undefined || !text.includes('freeRequire(id)'))
        throw new Error('benchmark.js takes its packages in another way now');
      const named = [...text.matchAll(/\b_\.(\w+)/g), ...list[1].matchAll(/'(\w+)'/g)].map(([, name = '']) => name);
      const functions = [...new Set(named)]
        .filter((name) => existsSync(join(root, 'node_modules', 'lodash', `${name}.js`))) // comments name others
        .map((name) => `${name}: require('lodash/${name}')`);
      const contents =
        `const packages = { lodash: { ${functions.join(', ')} }, platform: null };` +
        // benchmark leaves out arguments of _.partial by naming _ in their place
        'packages.lodash.partial.placeholder = packages.lodash;' +
        text.replace('freeRequire(id)', 'packages[id]');
      return { contents };
    });
  },
};

/**
 * The names that the compiled files import from a package. They import nothing by `* as`, nor while running.
 *
 * @param {string} specifier
 * @param {readonly string[]} texts
 */
function namesOf(specifier, texts) {
  /** @type {Set<string>} */
  const names = new Set();
  for (const text of texts) {
    for (const [, clause = '', from] of text.matchAll(/^import (?!type)([^;]*?) from '([^']+)';$/gm)) {
      if (from !== specifier) continue;
      const [, own, list] = /^(?:(\w+)(?:, )?)?(?:\{([^}]*)\})?$/.exec(clause.trim()) ?? [];
      if (own === undefined && list === undefined)
        throw new Error(`an import of ${specifier} that cannot be bundled: ${clause}`);
      if (own !== undefined) names.add('default');
      for (const name of (list ?? '').split(',')) if (name.trim() !== '') names.add(name.trim().split(' as ')[0] ?? '');
    }
  }
  return [...names].sort();
}

/** The licences of the packages that went into the bundles, as their terms ask. */
function licences(/** @type {readonly string[]} */ inputs) {
  const folders = new Set(
    inputs.flatMap((input) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0] ?? []).sort(),
  );
  return [...folders].map((folder) => {
    const path = join(root, folder);
    const { name, version, license } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));
    const file = readdirSync(path).find((entry) => /^(licen[cs]e|copying)\b/i.test(entry));
    const text = file === undefined ? `${license}` : readFileSync(join(path, file), 'utf8').trim();
    return `${name} ${version} (${license})\n\n${text}\n`;
  });
}

/** Bundles what the compiled files import, and lets them import it from there. */
export async function vendorPackages() {
  const files = compiledFiles().map((path) => {
    const text = readFileSync(path, 'utf8');
    return { path, text, imports: vendoredImports(text) };
  });
  const specifiers = [...new Set(files.flatMap(({ imports }) => imports.map(({ fileName }) => fileName)))].sort();
  if (specifiers.length === 0 && existsSync(vendor)) return; // done before, and nothing was compiled since
  rmSync(vendor, { recursive: true, force: true });

  const texts = files.map(({ text }) => text);
  const entries = new Map(
    specifiers.map((name) => [name, `export { ${namesOf(name, texts).join(', ')} } from '${name}';`]),
  );
  const { metafile } = await build({
    entryPoints: specifiers.map((specifier) => ({
      in: `vendored:${specifier}`,
      out: fileOf(specifier).slice(0, -'.js'.length),
    })),
    outdir: vendor,
    absWorkingDir: root,
    bundle: true,
    splitting: true,
    minify: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    legalComments: 'none', // in LICENCES.txt
    banner: {
      js:
        `import { createRequire as packagedRequire } from 'node:module'; const require = ` +
        'packagedRequire(import.meta.url);',
    },
    chunkNames: 'shared-[hash]',
    metafile: true,
    logLevel: 'warning',
    plugins: [
      benchmarkRequires,
      {
        name: 'vendored',
        setup({ onResolve, onLoad }) {
          onResolve({ filter: /^vendored:/ }, ({ path }) => ({
            path: path.slice('vendored:'.length),
            namespace: 'vendored',
          }));
          onLoad({ filter: /.*/, namespace: 'vendored' }, ({ path }) => ({
            contents: entries.get(path) ?? '',
            resolveDir: root,
          }));
        },
      },
    ],
  });
  writeFileSync(join(vendor, 'LICENCES.txt'), licences(Object.keys(metafile.inputs)).join(`\n${'-'.repeat(80)}\n\n`));

  for (const { path, text, imports } of files) {
    if (imports.length === 0) continue;
    let changed = text;
    for (const { fileName, pos, end } of imports) {
      const target = relative(dirname(path), join(vendor, fileOf(fileName)));
      const at = changed.indexOf(fileName, pos); // `pos` may be that of the quotation mark
      if (at < 0 || at > end) throw new Error(`${path}: the import of ${fileName} was not found again`);
      changed = `${changed.slice(0, at)}${target}${changed.slice(at + fileName.length)}`;
    }
    writeFileSync(path, changed);
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) await vendorPackages();
