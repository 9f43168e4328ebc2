// A whole program with a real library: zlib's checksums of a log's lines, or rows of an SQLite table in memory.
// Arguments: program, callouts, units of own work between two of them. Prints its CPU time and its answer as JSON.
import koffi from 'koffi';

const [, , program, ...numbers] = process.argv;
const [timed = 0, wanted = 0] = numbers.map(Number);
const ROWS = 100;
const WARM = 400; // the first callouts are not timed, and have less work between them
let units = Math.min(wanted, 500);
/** @type {Map<string, number>} */
const words = new Map();

/** @param {number} start */
function work(start) {
  for (let i = start; i < start + units; i++) {
    const key = `word ${(i * 7919) % 997}`;
    words.set(key, (words.get(key) ?? 0) + key.length);
  }
}

/** Prepares everything; what it returns makes callouts and is timed. */
function zlib() {
  const crc32 = koffi.load('libz.so.1').func('unsigned long crc32(unsigned long, const char *, unsigned int)');
  return (/** @type {number} */ callouts) => {
    let total = 0;
    for (let i = 0; i < callouts; i++) {
      const line = `${String(i).padStart(8, '0')} a line of the log`;
      total = (total * 31 + Number(crc32(0, line, line.length))) % 1000003;
      work(i);
    }
    return total;
  };
}

/** As zlib. */
function sqlite() {
  const lib = koffi.load('libsqlite3.so.0');
  const open = lib.func('int sqlite3_open(const char *, _Out_ void **)');
  const exec = lib.func('int sqlite3_exec(void *, const char *, void *, void *, void *)');
  const prepare = lib.func('int sqlite3_prepare_v2(void *, const char *, int, _Out_ void **, void *)');
  const bind = lib.func('int sqlite3_bind_int(void *, int, int)');
  const step = lib.func('int sqlite3_step(void *)');
  const column = lib.func('int sqlite3_column_int(void *, int)');
  const reset = lib.func('int sqlite3_reset(void *)');
  const [base, query] = [[null], [null]];
  open(':memory:', base);
  const rows = Array.from({ length: ROWS }, (_, i) => `INSERT INTO t VALUES (${i}, ${i * i});`).join('');
  exec(base[0], `CREATE TABLE t (a INTEGER PRIMARY KEY, b INT);${rows}`, null, null, null);
  prepare(base[0], 'SELECT b FROM t WHERE a = ?', -1, query, null);
  return (/** @type {number} */ callouts) => {
    let total = 0;
    for (let i = 0; i < callouts / 4; i++) {
      bind(query[0], 1, i % ROWS);
      step(query[0]);
      total += column(query[0], 0);
      reset(query[0]);
      for (let part = 0; part < 4; part++) work(4 * i + part);
    }
    return total;
  };
}

const run = program === 'zlib' ? zlib() : sqlite();
run(WARM);
units = wanted;
const start = process.cpuUsage();
const answer = run(timed);
const { user, system } = process.cpuUsage(start);
const sum = [...words.values()].reduce((all, each) => all + each, 0);
process.stdout.write(`${JSON.stringify({ cpuNs: (user + system) * 1000, answer: [answer, sum] })}\n`);
