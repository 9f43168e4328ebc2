/**
 * What becomes of a statement that was finalised and is stepped again?
 *
 * Stands for a cursor object that outlives its statement. sqlite3_finalize() frees the statement, and the memory is
 * used again, for text of the application's own. Then sqlite3_step() follows what it takes for pointers.
 * Varies: mechanism. Records: the fault, or SQLite's answer.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'sqlite3: sqlite3_step() on a statement whose memory has been used again',
  libraries: ['libsqlite3.so.0'],
  expected: (setting) => expectTrap(setting),
  run(trial) {
    const sqlite = trial.library('libsqlite3.so.0');
    const libc = trial.library('libc.so.6');
    const out = new BigUint64Array(1);
    sqlite.func('int sqlite3_open(const char *name, _Out_ uint64_t *db)')(':memory:', out);
    const [db = 0n] = out;
    sqlite.func(
      'int sqlite3_prepare_v2(uintptr_t db, const char *sql, int bytes, _Out_ uint64_t *statement, uintptr_t tail)',
    )(db, 'select 1', -1, out, 0);
    const [statement = 0n] = out;
    sqlite.func('int sqlite3_finalize(uintptr_t statement)')(statement);
    libc.func('uintptr_t memset(uintptr_t to, int value, size_t bytes)')(statement, 0x41, 64); // its next user
    trial.answered(sqlite.func('int sqlite3_step(uintptr_t statement)')(statement));
  },
};
