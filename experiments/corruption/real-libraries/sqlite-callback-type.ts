/**
 * Does a row callback of the wrong type write the image?
 *
 * Stands for a function pointer of another type in the place of a callback. sqlite3_exec() calls back with (data,
 * columns, texts, names). The binding has passed memset(3), and data is the address of an object in 'old'. From the
 * object on, the number of columns is stored over and over, as often as the address of the texts has units.
 * Varies: mechanism. Records: the fault, inside memset.
 */
import { type CorruptionCase, expectStore, hasTrap } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'sqlite3: a row callback that is memset(), with an object as its data',
  libraries: ['libsqlite3.so.0'],
  expected: (setting) =>
    hasTrap(setting.mechanism)
      ? expectStore(setting, 'the image is overwritten to its end; the fault comes behind it')
      : { verdicts: ['crashed'], why: 'the image is overwritten to its end, and the fault behind it ends the process' },
  run(trial) {
    const sqlite = trial.library('libsqlite3.so.0');
    const out = new BigUint64Array(1);
    sqlite.func('int sqlite3_open(const char *name, _Out_ uint64_t *db)')(':memory:', out);
    const [db = 0n] = out;
    trial.answered(
      sqlite.func(
        'int sqlite3_exec(uintptr_t db, const char *sql, uintptr_t callback, uintptr_t data, uintptr_t message)',
      )(db, 'select 1, 2, 3', trial.library('libc.so.6').symbol('memset'), trial.addressIn('old', 4096), 0),
    );
  },
};
