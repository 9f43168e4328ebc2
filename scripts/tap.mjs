// Reading what a test said: TAP 13 or 14, top-level lines only (a subtest is one line at its parent's level).

/**
 * How a test program ended.
 * @typedef {object} Ended
 * @property {string} stdout
 * @property {string} stderr
 * @property {number | null} exitCode
 * @property {string | null} signal
 * @property {boolean} timedOut
 * @property {boolean} lost
 * @property {string | null} reason
 */

/**
 * Judges one test program. A program that says nothing of TAP
 * counts as one test by its exit code. A program that ends badly has at least one failure, whatever it printed.
 * @param {Ended} result
 * @returns {{ passed: number, skipped: { name: string, reason: string }[], failures: string[] }}
 */
export function judge(result) {
  /** @type {{ ok: boolean, name: string, directive: string | undefined, reason: string }[]} */
  const points = [];
  let plan;
  let planReason;
  let bail;
  for (const line of result.stdout.split('\n')) {
    const [point, not, text = ''] = /^(not )?ok\b(?:\s+\d+)?(?:\s*-?\s*)(.*)$/.exec(line) ?? [];
    if (point !== undefined) {
      const directive = /\s#\s*(skip|todo)\S*\s*(.*)$/i.exec(` ${text}`);
      points.push({
        ok: not === undefined,
        name: text.replace(/\s*#\s*(time=|skip|todo).*$/i, '').replace(/\s*\{$/, ''),
        directive: directive?.[1]?.toLowerCase(),
        reason: directive?.[2] ?? '',
      });
    }
    const planned = /^1\.\.(\d+)(?:\s*#\s*(.*))?$/.exec(line);
    if (planned) {
      plan = Number(planned[1]);
      planReason = planned[2];
    }
    if (line.startsWith('Bail out!')) bail = line;
  }
  const failures = points.filter(({ ok, directive }) => !ok && directive !== 'todo').map(({ name }) => name);
  const skipped = points
    .filter(({ directive }) => directive !== undefined)
    .map(({ name, reason }) => ({ name, reason }));
  const passed = points.filter(({ ok, directive }) => ok && directive === undefined).length;
  if (plan === 0)
    skipped.push({ name: 'all', reason: (planReason ?? '').replace(/^skip\S*\s*/i, '') || 'nothing planned' });
  const ending = result.lost
    ? `the guest was lost twice: ${result.reason}`
    : result.timedOut
      ? `hung: ${result.reason ?? 'time limit'}`
      : result.signal
        ? `died of ${result.signal}`
        : result.exitCode === null
          ? `did not start: ${result.reason}`
          : undefined;
  if (ending !== undefined) failures.push(ending);
  else if (bail !== undefined) failures.push(bail);
  else if (plan === undefined && points.length > 0) failures.push('no plan: it ended before it was done');
  else if (plan !== undefined && plan !== points.length) failures.push(`planned ${plan} tests, ran ${points.length}`);
  else if (result.exitCode !== 0 && failures.length === 0) failures.push(`exit code ${result.exitCode}`);
  const silent = plan === undefined && points.length === 0;
  return { passed: silent && failures.length === 0 ? 1 : passed, skipped, failures };
}

/**
 * The part of a failed program's output that is worth reading.
 * @param {Pick<Ended, 'stdout' | 'stderr'>} result
 */
export function excerpt({ stdout, stderr }, most = 60) {
  const lines = stdout.split('\n');
  /** @type {string[]} */
  const wanted = [];
  const at = (/** @type {number} */ index) => lines[index] ?? '';
  for (let here = 0; here < lines.length; here++) {
    if (!/^\s*not ok\b/.test(at(here)) || /#\s*todo/i.test(at(here))) continue;
    let from = here; // the C tests say why before they say what
    while (/^\s*#/.test(at(from - 1))) from--;
    wanted.push(...lines.slice(from, here + 1));
    if (/^\s*---\s*$/.test(at(here + 1))) {
      for (here++; here < lines.length; here++) {
        wanted.push(at(here));
        if (/^\s*\.\.\.\s*$/.test(at(here))) break;
      }
    } else {
      while (/^\s*#/.test(at(here + 1))) wanted.push(at(++here));
    }
  }
  if (wanted.length === 0) wanted.push(...lines.filter((line) => line.trim() !== '').slice(-10));
  const errors = stderr.split('\n').filter((line) => line.trim() !== '');
  return [
    ...wanted.slice(0, most),
    ...(wanted.length > most ? [`… ${wanted.length - most} lines more`] : []),
    ...errors.slice(-20),
  ];
}
