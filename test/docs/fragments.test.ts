/**
 * Every code fragment in the documents works as it stands there: C is compiled against an installed copy and, where it
 * has a main, run; CMake projects are configured, built and run;
 * TypeScript is checked and run, and prints what the fragment of kind 'text output' after it says; shell lines are run,
 * or at least name what exists. Every figure of README and the
 * porting guide is a recorded one (TURNKEY_WRITE_FIGURES=1 puts the recorded ones in).
 */
// limit: 300 s
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

import t from 'tap';
import ts from 'typescript';

import { recordedRate } from '../../src/campaign/report/recorded.js';
import { inProject } from '../../src/record/paths.js';
import { DOCUMENTS, unmarked, withFigures } from '../../src/report/documents.js';
import { Figures } from '../../src/report/figures.js';

interface Fragment {
  readonly document: string;
  readonly line: number;
  readonly language: string;
  readonly text: string;
}

const root = inProject('.');
const installed = inProject(join('build-c', 'consumer', 'installed'));
const documents = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'CHANGELOG.md',
  'results/README.md',
  ...below('docs'),
  ...readdirSync(inProject('examples')).map((name) => `examples/${name}/README.md`),
].filter((name) => existsSync(inProject(name)));

function below(folder: string): string[] {
  return readdirSync(inProject(folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `${folder}/${name}`);
}

function fragments(document: string): readonly Fragment[] {
  const text = readFileSync(inProject(document), 'utf8');
  return [...text.matchAll(/^( *)```(.*)\n([\s\S]*?)^\1```$/gm)].map((match) => ({
    document,
    line: text.slice(0, match.index).split('\n').length,
    language: match[2] ?? '',
    text: (match[3] ?? '').replaceAll(new RegExp(`^${match[1] ?? ''}`, 'gm'), ''),
  }));
}

function run(command: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv = process.env): string {
  const { status, signal, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    env,
    encoding: 'utf8',
  });
  if (error !== undefined) throw error;
  if (status !== 0)
    throw new Error(`${command} ${args.join(' ')}: ${signal ?? `exit code ${status}`}\n${stdout}${stderr}`);
  return stdout;
}

const all = documents.flatMap(fragments);
const OUTPUT = 'text output';
let outputs = 0;
const scratch = t.testdir();
let folders = 0;
const folder = (): string => {
  const path = join(scratch, `fragment-${++folders}`);
  mkdirSync(path);
  return path;
};
const hasMain = ({ text }: Fragment): boolean => /^int main\(/m.test(text);
/** The program that a document's other fragments build. */
const programOf = (document: string): string =>
  all.find((each) => each.document === document && each.language === 'c' && hasMain(each))?.text ?? '';

const LIBRARIES = ['libturnkey_trap.a', 'libturnkey_pkeys.a'].map((name) => join(installed, 'lib', name));

function checkC(fragment: Fragment): void {
  const path = folder();
  writeFileSync(join(path, 'fragment.c'), fragment.text);
  const flags = [
    '-std=gnu11',
    '-O2',
    '-Wall',
    '-Wextra',
    '-Wshadow',
    '-Werror',
    '-Wno-unused-function',
    `-I${join(installed, 'include')}`,
  ];
  if (!hasMain(fragment)) {
    run('cc', [...flags, '-c', 'fragment.c', '-o', 'fragment.o'], path);
    return;
  }
  run('cc', [...flags, 'fragment.c', '-o', 'fragment', ...LIBRARIES, '-lpthread', '-ldl'], path);
  const output = run('./fragment', [], path);
  if (!/failed: [\s\S]*fine: 42/.test(output)) throw new Error(`it printed: ${output}`);
}

function checkCMake(fragment: Fragment): void {
  const path = folder();
  writeFileSync(join(path, 'CMakeLists.txt'), fragment.text);
  const [, program = '', source = ''] = /add_executable\((\S+) (\S+)\)/.exec(fragment.text) ?? [];
  writeFileSync(join(path, source), programOf(fragment.document));
  for (const kind of ['OFF', 'ON']) {
    run(
      'cmake',
      ['-S', '.', '-B', `build-${kind}`, `-DCMAKE_PREFIX_PATH=${installed}`, `-DTurnkey_SHARED_LIBS=${kind}`],
      path,
    );
    run('cmake', ['--build', `build-${kind}`], path);
    run(`./build-${kind}/${program}`, [], path);
  }
}

function checkTypeScript(fragment: Fragment): void {
  // in the package, so that its name resolves; not in dist, which other tests take into guests
  const path = inProject(join('build-c', 'fragments'));
  mkdirSync(path, { recursive: true });
  const file = join(path, `fragment-${process.pid}-${++folders}.mts`);
  const script = file.replace(/\.mts$/, '.mjs');
  try {
    writeFileSync(file, fragment.text);
    const program = ts.createProgram([file], {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      types: ['node'],
    });
    const wrong = ts
      .getPreEmitDiagnostics(program)
      .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
    if (wrong.length > 0) throw new Error(wrong.join('\n'));
    writeFileSync(
      script,
      ts.transpileModule(fragment.text, {
        compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
      }).outputText,
    );
    checkOutput(fragment, run(process.execPath, [script], root));
  } finally {
    rmSync(file, { force: true });
    rmSync(script, { force: true });
  }
}

/** Without what differs by machine: addresses, how the mechanism at hand reports a closed page; and line breaks. */
const withoutMachine = (text: string): string =>
  text
    .replaceAll(/0x[0-9a-f]+/g, '0x…')
    .replaceAll(/\(SEGV_(?:ACCERR|PKUERR)[^)]*\)/g, '(SEGV_…)')
    .replaceAll(/\s+/g, ' ');

/** Where the document's next fragment is the output of this one, that is what it must have printed. */
function checkOutput(fragment: Fragment, printed: string): void {
  const next = all[all.indexOf(fragment) + 1];
  if (next?.document !== fragment.document || next.language !== OUTPUT) return;
  outputs++;
  if (withoutMachine(printed) !== withoutMachine(next.text)) throw new Error(`it printed: ${printed}`);
}

const scripts = (JSON.parse(readFileSync(inProject('package.json'), 'utf8')) as { scripts: Record<string, string> })
  .scripts;

/** Compiling and measuring lines are run; the others take minutes, or the network: what they name must exist. */
function checkShell(fragment: Fragment): void {
  run('bash', ['-n', '-c', fragment.text], root);
  const path = folder();
  const home = join(path, 'home');
  mkdirSync(home);
  symlinkSync(installed, join(home, 'turnkey-installed'));
  symlinkSync(inProject('build-c'), join(path, 'build-c'));
  writeFileSync(join(path, 'my-vm.c'), programOf(fragment.document));
  const runs: string[] = [];
  for (const line of fragment.text
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .map((each) => each.replace(/(^|\s)#.*$/, '').trim())
    .filter((each) => each !== '')) {
    for (const command of line.split('&&').map((each) => each.trim())) {
      const [first = '', second = '', third = ''] = command.split(/\s+/);
      if (['cc', 'export'].includes(first) || first.startsWith('build-c/')) runs.push(command);
      else if (first === 'npm') {
        if (scripts[second === 'run' ? third : second] === undefined) throw new Error(`no such script: ${command}`);
      } else if (first === 'npx') {
        if (second !== 'turnkey') throw new Error(`not ours: ${command}`);
        if (
          !run(process.execPath, [join(root, 'dist', 'src', 'cli', 'main.js'), '--help'], root).includes(
            `\n  ${third} `,
          )
        )
          throw new Error(`no such command: ${command}`);
      } else if (first === 'cmake') {
        for (const [, option = ''] of command.matchAll(/-D(TURNKEY_\w+)=/g))
          if (!readFileSync(inProject('CMakeLists.txt'), 'utf8').includes(`option(${option} `))
            throw new Error(`no such option: ${option}`);
        const [, target] = /--target (\S+)/.exec(command) ?? [];
        if (target !== undefined && !existsSync(inProject(join('build-c', 'Release', target))))
          throw new Error(`no such target: ${target}`);
        const [, component] = /--component (\S+)/.exec(command) ?? [];
        if (
          component !== undefined &&
          !readFileSync(inProject('cmake/TurnkeyLibrary.cmake'), 'utf8').includes(`COMPONENT ${component})`)
        )
          throw new Error(`no such component: ${component}`);
      } else if (first.startsWith('build/Release/')) {
        // the Lua host is built where Lua is
        if (!existsSync(inProject(first)) && !first.endsWith('turnkey-lua'))
          throw new Error(`no such program: ${command}`);
      } else if (first === 'node') {
        if (
          second !== 'dist/src/cli/main.js' ||
          !run(process.execPath, [join(root, second), '--help'], root).includes(`\n  ${third} `)
        )
          throw new Error(`no such command: ${command}`);
      } else if (!['git', 'cd', 'apt-get', 'dpkg'].includes(first)) throw new Error(`what is ${first}? (${command})`);
    }
  }
  if (runs.length > 0)
    run(
      'bash',
      ['-e', '-c', runs.flatMap((each) => (each.startsWith('cc ') ? [each, './my-vm'] : [each])).join('\n')],
      path,
      { ...process.env, HOME: home },
    );
}

/** Run by the Lua host, where that could be built. */
function checkLua(fragment: Fragment): void {
  const host = inProject('build/Release/turnkey-lua');
  if (!existsSync(host)) return;
  const file = join(folder(), 'fragment.lua');
  writeFileSync(file, fragment.text);
  run(host, ['--mechanism', 'flag', file], root);
}

/**
 * A session with `turnkey guard`: what the commands print here, without keys by mprotect. README's are under keys.
 * Broken once: a word changed in what README says a program prints.
 */
function checkGuard(fragment: Fragment): void {
  const sessions = fragment.text.split(/^\$ /m).filter((session) => session.trim() !== '');
  for (const session of sessions) {
    const [command = '', ...lines] = session.split('\n');
    const [, vm = '', file = ''] = /^npx turnkey guard --lane emulated -- (\w+) (\S+)$/.exec(command) ?? [];
    const program = vm === 'node' ? process.execPath : `/usr/bin/${vm}`;
    if (!existsSync(program)) {
      t.comment(`no ${program} here: ${command} is not tried`);
      continue;
    }
    const words = ['guard', '--mechanism', 'mprotect-range', '--', program, file];
    const { stdout, stderr } = spawnSync(process.execPath, [join(root, 'dist', 'src', 'cli', 'main.js'), ...words], {
      cwd: root,
      encoding: 'utf8',
    });
    const here = withoutMachine(stdout + stderr)
      .replaceAll('lane native', 'lane emulated')
      .replaceAll('mprotect-range', 'pkeys');
    if (here.trim() !== withoutMachine(lines.join('\n')).trim()) throw new Error(`it printed: ${here}`);
  }
}

const CHECKS: Readonly<Record<string, ((fragment: Fragment) => void) | undefined>> = {
  c: checkC,
  cmake: checkCMake,
  ts: checkTypeScript,
  sh: checkShell,
  lua: checkLua,
  text() {},
  'text guard': checkGuard,
  [OUTPUT]() {}, // by the fragment before
};

t.test('there is an installed copy to compile against', (t) => {
  t.ok(existsSync(join(installed, 'include', 'turnkey', 'call.h')), 'cmake --build build-c makes one');
  t.end();
});

for (const fragment of all) {
  t.test(`${fragment.document}:${fragment.line}: ${fragment.language}`, (t) => {
    const check = CHECKS[fragment.language];
    if (check === undefined)
      t.fail(`a fragment in '${fragment.language}' is not checked by anything (diagrams are 'text')`);
    else
      t.doesNotThrow(() => {
        check(fragment);
      });
    t.end();
  });
}

t.test('every output was compared with what the fragment before it printed', (t) => {
  t.ok(outputs > 0);
  t.equal(outputs, all.filter(({ language }) => language === OUTPUT).length);
  t.end();
});

t.test('there are fragments of every kind', (t) => {
  for (const language of ['c', 'cmake', 'ts', 'sh'])
    t.ok(
      all.some((each) => each.language === language),
      language,
    );
  t.end();
});

/** Broken once: a digit changed in a table, and in a sentence; a figure written by hand. Each was named. */
const recorded = new Figures(recordedRate);
for (const document of DOCUMENTS)
  t.test(`the figures of ${document} are the recorded ones, and all of its figures are marked`, (t) => {
    const path = inProject(document);
    const stands = readFileSync(path, 'utf8');
    const text = withFigures(stands, recorded);
    if (process.env['TURNKEY_WRITE_FIGURES'] === '1') writeFileSync(path, text);
    else t.equal(stands, text);
    t.match(text, '<!-- begin figures: ');
    t.same(unmarked(text), []);
    t.end();
  });

/** The anchors that GitHub gives to a page's headings. */
const anchorsOf = (path: string): readonly string[] =>
  [...readFileSync(inProject(path), 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );

t.test('links lead to files, and to headings in them', (t) => {
  for (const document of documents) {
    const text = readFileSync(inProject(document), 'utf8');
    for (const [, target = '', anchor = ''] of text.matchAll(/\]\(([^)#]*)(?:#([^)]*))?\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const path = target === '' ? document : normalize(join(dirname(document), target));
      t.ok(existsSync(inProject(path)), `${document}: ${target}`);
      if (anchor !== '') t.ok(anchorsOf(path).includes(anchor), `${document}: ${target}#${anchor}`);
    }
  }
  t.end();
});

t.test('files of the project that a page names exist', (t) => {
  let named = 0;
  for (const document of documents)
    for (const [, path = ''] of readFileSync(inProject(document), 'utf8').matchAll(
      /`((?:cmake|docs|examples|experiments|native|scripts|src|test)\/[\w./-]+\.\w+)`/g,
    )) {
      if (path.includes('NAME')) continue; // one that the reader makes
      named++;
      t.ok(existsSync(inProject(path)), `${document}: ${path}`);
    }
  t.ok(named > 50, `${named} names`);
  t.end();
});

t.test('the marks of the tiny VM and of the guide are the same', (t) => {
  const marks = (text: string): string[] =>
    [...new Set([...text.matchAll(/\[(K\d+)\]/g)].map(([, mark = '']) => mark))].sort(
      (a, b) => Number(a.slice(1)) - Number(b.slice(1)),
    );
  const inVm = marks(
    ['tiny-vm.c', 'tiny-vm.h', 'memory.h', 'memory_own.c']
      .map((name) => readFileSync(inProject(`examples/tiny-vm/${name}`), 'utf8'))
      .join('\n'),
  );
  t.same(
    inVm,
    Array.from({ length: inVm.length }, (_, i) => `K${i + 1}`),
    'numbered without gaps',
  );
  t.same(marks(readFileSync(inProject('docs/porting.md'), 'utf8')), inVm);
  t.end();
});

t.test('the example of a guarded call is short', (t) => {
  const lines = readFileSync(inProject('examples/guard-a-call/guard-a-call.c'), 'utf8').trimEnd().split('\n').length;
  t.ok(lines <= 60, `${lines} lines`);
  t.end();
});
