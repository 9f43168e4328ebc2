/** Numbers as text. Pure. */

/** Three significant digits, no exponent. */
function significant(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toFixed(digits);
}

/** A time in ns as ns, µs, ms or s. */
export function formatNs(ns: number): string {
  if (Math.abs(ns) < 999.5) return `${significant(ns)} ns`;
  if (Math.abs(ns) < 999_500) return `${significant(ns / 1e3)} µs`;
  if (Math.abs(ns) < 999_500_000) return `${significant(ns / 1e6)} ms`;
  return `${significant(ns / 1e9)} s`;
}

/** A count with separators; from a million on in M, with three digits. */
export function formatCount(count: number): string {
  if (Math.abs(count) >= 999_500) return `${significant(count / 1e6)} M`;
  return String(Math.round(count)).replace(/\B(?=(\d{3})+(?!\d))/g, ',');
}

/** Bytes in KiB, MiB or GiB. */
export function formatBytes(bytes: number): string {
  const trim = (value: number): string => (Number.isInteger(value) ? String(value) : significant(value));
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1 << 20) return `${trim(bytes / 1024)} KiB`;
  if (bytes < 1 << 30) return `${trim(bytes / (1 << 20))} MiB`;
  return `${trim(bytes / (1 << 30))} GiB`;
}
