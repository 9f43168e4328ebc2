/**
 * What becomes of a query on a database handle that was closed?
 *
 * Stands for the handle that a finaliser closed while somebody still had it. sqlite3_close() frees it; the next
 * sqlite3_exec() gets it again. SQLite looks at a magic word in the freed memory first, and as long as nobody has used
 * that memory again it says SQLITE_MISUSE (21).
 * Varies: mechanism. Records: SQLite's answer, or the fault.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'sqlite3: sqlite3_exec() on a handle that was closed',
  libraries: ['libsqlite3.so.0'],
  expected: (setting) => ({
    verdicts: ['harmless', ...expectTrap(setting).verdicts],
    why: 'SQLite finds the magic word of a closed handle, if the memory has not been used again',
  }),
  run(trial) {
    const sqlite = trial.library('libsqlite3.so.0');
    const exec = sqlite.func(
      'int sqlite3_exec(uintptr_t db, const char *sql, uintptr_t callback, uintptr_t data, uintptr_t message)',
    );
    const out = new BigUint64Array(1);
    sqlite.func('int sqlite3_open(const char *name, _Out_ uint64_t *db)')(':memory:', out);
    const [db = 0n] = out;
    exec(db, 'create table t(a); insert into t values(1)', 0, 0, 0);
    sqlite.func('int sqlite3_close(uintptr_t db)')(db);
    trial.answered(exec(db, 'select a from t', 0, 0, 0));
  },
};
