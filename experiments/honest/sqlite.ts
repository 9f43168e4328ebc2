/**
 * Does SQLite, with rows handed back through a callback, give the same rows under every mechanism?
 *
 * Opens a database in memory, fills a table, selects with sums and text. Every row passes through a JavaScript callback
 * whose pointers are decoded by guarded copies: callout, callback, callout.
 * Varies: mechanism. Records: SHA-256 over all rows and column names.
 */
import type { HonestCase } from '../../src/experiment/index.js';

const ROWS = 16;

export const experiment: HonestCase = {
  kind: 'honest',
  summary: `SQLite: insert and select ${ROWS} rows, each row by a callback`,
  libraries: ['libsqlite3.so.0'],
  run(trial) {
    const sqlite = trial.library('libsqlite3.so.0');
    const row = trial.callback('int TurnkeyRow(void *context, int columns, char **values, char **names)');
    const open = sqlite.func('int sqlite3_open(const char *name, _Out_ void **db)');
    const close = sqlite.func('int sqlite3_close(void *db)');
    const exec = sqlite.func(
      `int sqlite3_exec(void *db, const char *sql, ${row} callback, void *context, void *message)`,
    );
    const handle: [unknown] = [null];
    if (open(':memory:', handle) !== 0) throw new Error('sqlite3_open failed');
    const db = handle[0];
    let callouts = 2;
    const run = (sql: string, each: ((...args: unknown[]) => number) | null): void => {
      callouts++;
      const answer = exec(db, sql, each, null, null);
      if (answer !== 0) throw new Error(`sqlite3_exec answered ${String(answer)} to ${sql}`);
    };
    run('create table t (id integer primary key, name text, weight real)', null);
    const values = Array.from({ length: ROWS }, (_, i) => `(${i}, 'name ${(i * 7919) % 1000}', ${i / 8})`);
    run(`insert into t values ${values.join(', ')}`, null);
    let rows = 0;
    const onRow = (_context: unknown, columns: unknown, fields: unknown, names: unknown): number => {
      const count = Number(columns);
      trial.put(JSON.stringify([trial.decode(names, 'char *', count), trial.decode(fields, 'char *', count)]));
      rows++;
      return 0;
    };
    run('select id, name, weight, (select sum(weight) from t) from t order by name desc, id', onRow);
    if (rows !== ROWS) throw new Error(`${rows} rows came, not ${ROWS}`);
    if (close(db) !== 0) throw new Error('sqlite3_close failed');
    trial.count(callouts);
  },
};
