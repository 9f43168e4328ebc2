/**
 * Can a program that the callee starts write the image?
 *
 * Stands for hostile code, and for debuggers started from within. A program that a callee executes is judged by
 * nobody: it opens its parent's /proc/PID/mem and writes 8 bytes.
 * Varies: mechanism, hardening. Records: the program's wait status, bytes changed.
 */
import { type CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'a write to /proc/PID/mem by a program that the callee starts',
  expected: () => ({
    verdicts: ['damaged', 'harmless'],
    why: "another program's access is remote, if it may trace its parent",
  }),
  remedy: {
    kinds: ['process', 'vm'],
    text: "filter: { refuse: ['execve', 'execveat'] }; Yama's ptrace_scope, where the VM is not root's",
  },
  timeoutMs: 8000,
  run(trial) {
    const script =
      `const fs = require('node:fs'); const file = fs.openSync('/proc/${process.pid}/mem', 'r+'); ` +
      `fs.writeSync(file, Buffer.alloc(8, 0x41), 0, 8, ${trial.addressIn('old')});`;
    trial.note(
      `wait status ${String(
        trial.foreign('int64_t foreign_hostile_program(const char *path, const char *flag, const char *text)')(
          process.execPath,
          '-e',
          script,
        ),
      )}`,
    );
  },
};
