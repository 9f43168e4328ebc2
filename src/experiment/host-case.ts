/** Cases of the catalogue on hosts: programs as they are, and one bad callout in each trial (experiments/hosts). */

export const HOSTS = ['cpython', 'node', 'ruby', 'squeak'] as const;
export type HostName = (typeof HOSTS)[number];

/** What the callee is given: the content, header or code of an object; a lent buffer; a number that is no address. */
export type HostTarget = 'payload' | 'header' | 'code' | 'lent' | 'number';

export interface HostCase {
  readonly name: string;
  readonly title: string;
  /** Functions `for_hosts_NAME` of native/foreign/for_hosts.c, called in this order. */
  readonly callees: readonly string[];
  readonly target: HostTarget;
  /** What the callee is told of the size. */
  readonly bytes: number;
  /** Hosts where it makes no sense, with the reason. */
  readonly skip?: Readonly<Partial<Record<HostName, string>>>;
  /** The case of the catalogue on the stand-in that it resembles. */
  readonly standIn?: string;
  /** Honest work, which must be harmless under every mechanism. */
  readonly control?: true;
}
