/**
 * Other images beside a trial's: tenants with virtual keys, of one page each, more of them than there are keys. A
 * thread of the VM enters them and the trial's image in turn, so that the trial's image is loaded and evicted all the
 * time.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

import { Guard } from '../../src/callout/guard.js';
import { BUILT, inProject, needsKeys, type Setting } from '../../src/experiment/index.js';
import { Image } from '../../src/image/image.js';
import type { GuardMechanism } from '../../src/image/mechanism.js';

/** More than there are keys. */
export const TENANTS = 20;

function openTenant({ mechanism, deny }: Setting): Image {
  const image = Image.map({ spaces: [{ name: 'old', bytes: 4096, deny }], keys: 'virtual' });
  image.setMechanism(mechanism);
  return image;
}

/** A tenant, and others beside it. */
export interface Tenants {
  readonly own: Image;
  readonly others: readonly Image[];
}

/** Maps and protects them. They stay open: the process ends with its trial. */
export function openTenants(setting: Setting, others = TENANTS): Tenants {
  return { own: openTenant(setting), others: Array.from({ length: others }, () => openTenant(setting)) };
}

/** Enters all others, and then the tenant itself: no other image has a key after that. */
export function enterAll({ own, others }: Tenants): void {
  for (const other of others) other.enter();
  own.enter();
}

/**
 * foreign_write64 as code of the tenant's own: under keys it may write that tenant's image, as is shown here. The
 * thread is in the tenant afterwards.
 */
export function storeFrom(own: Image, mechanism: GuardMechanism): (address: bigint, value: bigint) => unknown {
  const guard = new Guard({ image: own, mechanism, inside: true });
  const store = guard.load(inProject(BUILT.foreign)).func('void foreign_write64(uint64_t address, uint64_t value)');
  own.enter();
  if (needsKeys(mechanism)) {
    store(own.space('old').address, 1n);
    if (own.space('old').read(0, 1)[0] !== 1) throw new Error('a tenant cannot write its own image');
  }
  return (address, value) => store(address, value);
}

interface Task {
  readonly victim: number;
  readonly others: readonly number[];
  readonly stop: Int32Array;
}

/** A worker that loads and evicts `victim` until it is told to stop. Answers how often it did. */
export async function startEvictor(victim: Image, others: readonly Image[]): Promise<() => Promise<number>> {
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(inProject('dist/experiments/support/tenants.js'), {
    workerData: { victim: victim.id, others: others.map(({ id }) => id), stop } satisfies Task,
  });
  const next = (): Promise<number> =>
    new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
  await next();
  return () => {
    const rounds = next();
    Atomics.store(stop, 0, 1);
    return rounds;
  };
}

if (!isMainThread && workerData !== null && typeof workerData === 'object' && 'victim' in workerData) {
  const { victim, others, stop } = workerData as Task;
  const image = Image.attach(victim);
  const tenants = others.map((id) => Image.attach(id));
  let rounds = 0;
  parentPort?.postMessage(0);
  for (; Atomics.load(stop, 0) === 0; rounds++) {
    image.enter();
    for (const tenant of tenants) tenant.enter();
  }
  tenants[0]?.leave();
  tenants.at(-1)?.leave();
  parentPort?.postMessage(rounds);
}
