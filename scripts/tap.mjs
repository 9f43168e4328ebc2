// Reading what a test said: TAP 13 or 14, top-level lines only (a subtest is one line at its parent's level).

/**
 * Judges one test program.
 * `result`: { stdout, stderr, exitCode, signal, timedOut, lost, reason }.
 * Returns { passed, failed, skipped: [{ name, reason }], failures: [line, …] }. A program that says nothing of TAP
 * counts as one test by its exit code. A program that ends badly has at least one failure, whatever it printed.
 */
export function judge(result) {
  const points = [];
  let plan;
  let planReason;
  let bail;
  for (const line of result.stdout.split('\n')) {
    const point = /^(not )?ok\b(?:\s+\d+)?(?:\s*-?\s*)(.*)$/.exec(line);
    if (point) {
      const directive = /\s#\s*(skip|todo)\S*\s*(.*)$/i.exec(` ${point[2]}`);
      points.push({
        ok: point[1] === undefined,
        name: point[2].replace(/\s*#\s*(time=|skip|todo).*$/i, '').replace(/\s*\{$/, ''),
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
  return { passed: silent && failures.length === 0 ? 1 : passed, failed: failures.length, skipped, failures };
}

/** The part of a failed program's output that is worth reading. */
export function excerpt({ stdout, stderr }, most = 60) {
  const lines = stdout.split('\n');
  const wanted = [];
  for (let at = 0; at < lines.length; at++) {
    if (!/^\s*not ok\b/.test(lines[at]) || /#\s*todo/i.test(lines[at])) continue;
    let from = at; // the C tests say why before they say what
    while (/^\s*#/.test(lines[from - 1] ?? '')) from--;
    wanted.push(...lines.slice(from, at + 1));
    if (/^\s*---\s*$/.test(lines[at + 1] ?? '')) {
      for (at++; at < lines.length; at++) {
        wanted.push(lines[at]);
        if (/^\s*\.\.\.\s*$/.test(lines[at])) break;
      }
    } else {
      while (/^\s*#/.test(lines[at + 1] ?? '')) wanted.push(lines[++at]);
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
