// The emulated machine, with real boots: one that most tests share, and one each where a boot is the matter.
// limit: 600 s

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import t from 'tap';

import {
  type Job,
  type JobResult,
  Machine,
  MachineError,
  type MachineOptions,
  projectRoot,
} from '../../src/machine/index.js';
import { encodeFile, encodeFrame, encodeRun, FrameReader } from '../../src/machine/protocol.js';
import { crc32 } from '../../src/record/crc32.js';

const scratch = mkdtempSync(join(tmpdir(), 'turnkey-machine-'));
t.teardown(() => {
  rmSync(scratch, { recursive: true, force: true });
});

/** Where no job is Node's: a guest without it has 100 MB less to unpack at boot. */
const NO_NODE = { node: '/bin/sh' };
/** Far above what anything here takes: a limit that is met only by a hang. */
const AMPLE_MS = 300_000;

let shared: Promise<Machine> | undefined;
const taken = join(scratch, 'taken along.txt');
writeFileSync(taken, 'from outside\n');

function machine(): Promise<Machine> {
  shared ??= Machine.boot({ extraFiles: [taken, 'libsqlite3.so.0'] });
  return shared;
}
t.teardown(async () => (await shared)?.close());

async function run(command: readonly string[], more: Partial<Job> = {}): Promise<JobResult> {
  return (await machine()).run({ command, timeoutMs: AMPLE_MS, ...more });
}

/** The error of a boot that must fail. */
async function refusal(options: MachineOptions): Promise<MachineError> {
  let booted: Machine;
  try {
    booted = await Machine.boot(options);
  } catch (error) {
    if (error instanceof MachineError) return error;
    throw error;
  }
  await booted.close();
  throw new Error('the machine booted');
}

t.test('frames', async (t) => {
  t.equal(crc32(Buffer.from('123456789')), 0xcbf43926, 'CRC-32 of the check string');
  const frames = [
    encodeFrame(66, 7, Buffer.from('hello')),
    encodeFrame(70, 0),
    encodeFrame(67, 9, Buffer.alloc(70_000, 3)),
  ];
  const stream = Buffer.concat(frames);
  for (const pieceBytes of [1, 7, 4096, stream.length]) {
    const reader = new FrameReader();
    const seen = [];
    for (let at = 0; at < stream.length; at += pieceBytes)
      seen.push(...reader.push(stream.subarray(at, at + pieceBytes)));
    t.same(
      seen.map(({ type, job, payload }) => [type, job, payload.length]),
      [
        [66, 7, 5],
        [70, 0, 0],
        [67, 9, 70_000],
      ],
      `whole from pieces of ${pieceBytes} bytes`,
    );
  }
  for (const at of [0, 6, 13, 18, 21]) {
    const damaged = Buffer.from(frames[0] ?? []);
    damaged[at] = (damaged[at] ?? 0) ^ 0x10;
    const reader = new FrameReader();
    // a damaged length waits for more; what follows tells
    t.throws(
      () => reader.push(Buffer.concat([damaged, Buffer.alloc(1 << 21)])),
      `a bit turned over in byte ${at} is noticed`,
    );
  }
  t.throws(() => encodeFrame(1, 1, Buffer.alloc((1 << 20) + 1)), RangeError);
  t.throws(() => encodeRun(['a\0b'], {}, '/'), RangeError);
  t.equal(encodeFile('/x', 0o755).readUInt32LE(0), 0o755);
});

t.test('boots with keys, and says what it is', async (t) => {
  const { info } = await machine();
  t.ok(info.cpuFlags.includes('pku') && info.cpuFlags.includes('ospke'), 'pku and ospke among the flags');
  t.match(info.kernel, /^\d+\.\d+/);
  t.match(info.qemu, /^\d+\.\d+/);
  t.equal(info.processors, 2);
  t.ok(
    info.conformance.some((line) => line.includes('a denied write is SIGSEGV with SEGV_PKUERR and the key')),
    'the conformance program vouched for it',
  );
});

t.test('runs Node and koffi at the same paths as outside', async (t) => {
  const code = `import koffi from 'koffi';
    const f = koffi.load('libsqlite3.so.0').func('const char *sqlite3_libversion()');
    console.log(JSON.stringify([process.cwd(), f(), process.env.TURNKEY_LANE, process.version]));`;
  const { exitCode, stdout, stderr } = await run(['node', '--input-type=module', '-e', code]);
  t.equal(exitCode, 0, stderr);
  const [cwd, sqlite, lane, version] = JSON.parse(stdout) as string[];
  t.equal(cwd, projectRoot());
  t.match(sqlite, /^3\./, 'a library named by its soname came with what it depends on');
  t.equal(lane, 'emulated');
  t.equal(version, process.version);
});

t.test('gives exit code, signal, both outputs, and takes input, files, environment and folder', async (t) => {
  const result = await run(['sh', '-c', 'cat; cat "$1"; echo "$COLOUR" >&2; pwd; exit 7', 'sh', '/tmp/deep/er/file'], {
    stdin: 'typed\n',
    files: [{ path: '/tmp/deep/er/file', content: 'written\n' }],
    env: { COLOUR: 'grün' },
    cwd: '/tmp/deep',
  });
  t.match(result, {
    exitCode: 7,
    signal: null,
    stdout: 'typed\nwritten\n/tmp/deep\n',
    stderr: 'grün\n',
    timedOut: false,
    lost: false,
    attempts: 1,
  });
  t.match(await run(['sh', '-c', 'kill -SEGV $$']), { exitCode: null, signal: 'SIGSEGV', lost: false });
  t.match(await run(['cat', taken]), { exitCode: 0, stdout: 'from outside\n' });
  const script = { path: '/tmp/script', content: '#!/bin/sh\necho ran\n', mode: 0o755 };
  t.match(await run(['/tmp/script'], { files: [script] }), { exitCode: 0, stdout: 'ran\n' });
});

t.test('output and input of some size arrive whole', async (t) => {
  const bytes = Buffer.from(Array.from({ length: 40_000 }, (_, index) => (index * 7919) & 0xff));
  const parts: Buffer[] = [];
  const { exitCode } = await run(['cat'], { stdin: bytes, onStdout: (part) => parts.push(part) });
  t.equal(exitCode, 0);
  t.ok(Buffer.concat(parts).equals(bytes), '40,000 bytes there and back');
  await run(['true'], { files: [{ path: '/tmp/bytes', content: bytes }] });
  t.ok((await (await machine()).readFile('/tmp/bytes')).equals(bytes), 'a file there and back');
  await t.rejects((await machine()).readFile('/tmp/nonesuch'), /nonesuch/);
});

t.test('two jobs run at once', async (t) => {
  // each waits for the other's file
  const meet = (mine: string, other: string): Promise<JobResult> =>
    run(['sh', '-c', `touch /tmp/${mine}; while [ ! -e /tmp/${other} ]; do sleep 0.05; done`]);
  t.match(await Promise.all([meet('a', 'b'), meet('b', 'a')]), [{ exitCode: 0 }, { exitCode: 0 }]);
});

t.test('a command that cannot be started is a result with its reason', async (t) => {
  t.match(await run(['nonesuch']), { exitCode: null, signal: null, reason: /nonesuch.*ENOENT/, lost: false });
  t.match(await run(['true'], { cwd: '/nowhere' }), { exitCode: null, reason: /ENOENT/ });
  const guest = await machine();
  await t.rejects(guest.run({ command: [], timeoutMs: 1000 }), RangeError);
  await t.rejects(guest.run({ command: ['true'], timeoutMs: 0 }), RangeError);
  await t.rejects(guest.run({ command: ['a\0b'], timeoutMs: 1000 }), RangeError);
  t.match(await run(['true']), { exitCode: 0 }, 'and the guest goes on');
});

t.test('a job that kills its process group, or leaves something running, does not end the guest', async (t) => {
  t.match(await run(['sh', '-c', 'kill -9 0; sleep 1']), { signal: 'SIGKILL', timedOut: false });
  t.match(await run(['sh', '-c', 'setsid sleep 4711 & echo left']), { exitCode: 0, stdout: 'left\n' });
  t.match(await run(['sh', '-c', 'ps | grep -c "sleep 471[1]"']), { stdout: '0\n' }, 'what it left running is gone');
});

t.test('a job that hangs is killed at its time limit, with all that it started', async (t) => {
  const hang = (timeoutMs: number): Promise<JobResult> =>
    run(['sh', '-c', 'trap "" TERM INT HUP; echo begun; setsid sleep 4712 & sleep 4713'], { timeoutMs });
  let timeoutMs = 2000;
  let result = await hang(timeoutMs);
  for (; result.stdout === ''; result = await hang(timeoutMs)) timeoutMs *= 2; // a slow guest: not begun by then
  t.match(result, {
    timedOut: true,
    signal: 'SIGKILL',
    stdout: 'begun\n',
    reason: new RegExp(`time limit of ${timeoutMs} ms`),
    lost: false,
  });
  t.match(await run(['sh', '-c', 'ps | grep -c "sleep 471[23]"']), { stdout: '0\n' }, 'nothing of it is left');
});

t.test(
  'a lost guest is started again: its jobs are tried once more, the one at fault alone, then recorded',
  async (t) => {
    const before = (await machine()).info.restarts;
    const retried: string[] = [];
    // waits for its input, which the first attempt gets no end of, and the second none
    let endInput: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (endInput = resolve));
    const input = (async function* () {
      await held;
      yield '';
    })();
    const [innocent, fatal] = await Promise.all([
      run(['sh', '-c', 'read -r line; echo fine'], {
        stdin: input,
        onRetry(reason) {
          retried.push(reason);
          endInput();
        },
      }),
      run(['sh', '-c', 'echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger; sleep 100']),
    ]);
    t.match(fatal, { lost: true, attempts: 2, exitCode: null, reason: /guest ended/ });
    t.match(innocent, { lost: false, exitCode: 0, stdout: 'fine\n', attempts: 2 });
    t.equal(retried.length, 1);
    t.match(await run(['echo', 'again']), { exitCode: 0, stdout: 'again\n', attempts: 1 });
    t.equal((await machine()).info.restarts - before, 2);
  },
);

t.test('a guest that no longer answers is stuck: another takes over its job', async (t) => {
  const stuck = await Machine.boot({ ...NO_NODE, silenceLimitMs: 8000, conformance: false });
  try {
    const result = await stuck.run({
      command: ['sh', '-c', 'echo begun; sleep 1; echo ended'],
      timeoutMs: AMPLE_MS,
      onStdout() {
        if (stuck.info.restarts === 0) process.kill(stuck.info.pid, 'SIGSTOP');
      },
    });
    t.match(result, { exitCode: 0, stdout: 'begun\nended\n', attempts: 2, lost: false });
    t.equal(stuck.info.restarts, 1);
  } finally {
    await stuck.close();
  }
});

t.test('a guest without keys is refused, with the line that failed', async (t) => {
  const error = await refusal({ ...NO_NODE, cpu: 'max,-cx16,-pku' });
  t.equal(error.code, 'ERR_MACHINE_REFUSED');
  t.match(error.message, /not ok 1 - CPUID shows PKU and OSPKE/);
});

t.test('what is missing is named', async (t) => {
  t.match(await refusal({ kernel: join(scratch, 'no such kernel') }), {
    code: 'ERR_MACHINE_NO_KERNEL',
    message: /no such kernel/,
  });
  t.match(await refusal({ kernel: taken }), { code: 'ERR_MACHINE_NO_KERNEL', message: /not a Linux kernel/ });
  t.match(await refusal({ extraFiles: ['/nowhere/at/all'] }), {
    code: 'ERR_MACHINE_NO_FILE',
    message: /\/nowhere\/at\/all/,
  });
  t.match(await refusal({ extraFiles: ['libnonesuch.so.9'] }), { code: 'ERR_MACHINE_NO_FILE', message: /libnonesuch/ });
  const path = process.env['PATH'];
  process.env['PATH'] = scratch;
  try {
    t.match(await refusal({}), { code: 'ERR_MACHINE_NO_QEMU', message: /qemu-system-x86_64/ });
  } finally {
    process.env['PATH'] = path;
  }
  t.match(
    await refusal({ cpu: 'no-such-cpu' }),
    { code: 'ERR_MACHINE_BOOT', message: /no-such-cpu/ },
    "QEMU's own words are shown",
  );
  await t.rejects(Machine.boot({ processors: 0 }), RangeError);
});

t.test('the counting machine counts instructions, the same each time', async (t) => {
  const counting = await Machine.boot({ ...NO_NODE, mode: 'counting' });
  try {
    t.equal(counting.info.processors, 1);
    t.ok(
      counting.info.conformance.some((line) => line.endsWith('the clock counts instructions')),
      'checked before it was believed',
    );
    t.match(await counting.run({ command: ['echo', 'hello'], timeoutMs: AMPLE_MS }), {
      exitCode: 0,
      stdout: 'hello\n',
    });
  } finally {
    await counting.close();
  }
  await t.rejects(counting.run({ command: ['true'], timeoutMs: 1000 }), { code: 'ERR_MACHINE_CLOSED' });
});

t.test('turnkey emulated: output, exit code, files taken along', async (t) => {
  const built = join(projectRoot(), 'dist', 'src', 'machine', 'index.js');
  const script = `import { emulatedCommand } from ${JSON.stringify(built)};
    process.exitCode = await emulatedCommand(JSON.parse(process.argv[1]), JSON.parse(process.argv[2]));`;
  const call = (
    command: readonly string[],
    options: object,
    input = '',
  ): Promise<{ code: number | null; out: string; err: string }> =>
    new Promise((resolve) => {
      const child = spawn(
        process.execPath,
        ['--input-type=module', '-e', script, JSON.stringify(command), JSON.stringify(options)],
        { cwd: projectRoot() },
      );
      let out = '';
      let err = '';
      child.stdout.on('data', (bytes: Buffer) => (out += bytes.toString('utf8')));
      child.stderr.on('data', (bytes: Buffer) => (err += bytes.toString('utf8')));
      child.on('close', (code) => {
        resolve({ code, out, err });
      });
      child.stdin.end(input);
    });
  const ran = await call(
    ['sh', '-c', 'cat "$1" -; grep -o -m1 ospke /proc/cpuinfo; echo complaint >&2; exit 9', 'sh', taken],
    { with: [taken] },
    'input\n',
  );
  t.same(ran, { code: 9, out: 'from outside\ninput\nospke\n', err: 'complaint\n' });
  t.match(await call([], {}), { code: 2, err: /no command/ });
  t.match(await call(['true'], { kernel: '/nowhere' }), { code: 125, err: /\/nowhere/ });
  t.match(await call(['true'], { timeout: 'soon' }), { code: 2, err: /--timeout.*soon/ });
});
