/**
 * What becomes of a callback whose declaration does not match what the library passes?
 *
 * Stands for a callback declared as (text, number) where the library passes (data, columns, texts, names). The data,
 * here the number 42 that the application gave, is taken for a string.
 * Varies: mechanism. Records: the fault: the pointer is decoded by a guarded copy, in a callback, whose exception comes
 * out of the callout.
 */
import { type CorruptionCase, expectTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'sqlite3: a JavaScript callback that takes its data, 42, for a string',
  libraries: ['libsqlite3.so.0'],
  expected: (setting) => expectTrap(setting),
  run(trial) {
    const sqlite = trial.library('libsqlite3.so.0');
    const out = new BigUint64Array(1);
    sqlite.func('int sqlite3_open(const char *name, _Out_ uint64_t *db)')(':memory:', out);
    const [db = 0n] = out;
    const type = trial.callback('int RowAsText(const char *text, int number)');
    const exec = sqlite.func(
      `int sqlite3_exec(uintptr_t db, const char *sql, ${type} callback, uintptr_t data, uintptr_t message)`,
    );
    trial.answered(exec(db, 'select 1', (text: string) => (text.length > 0 ? 0 : 1), 42, 0));
  },
};
