/** What the thread of short-thread.ts does. It loads as little as it can: in a guest, each module takes its time. */
import { workerData } from 'node:worker_threads';

import { Guard } from '../../src/callout/guard.js';
import { Image } from '../../src/image/image.js';
import type { GuardMechanism } from '../../src/image/mechanism.js';

export interface ShortThreadTask {
  readonly imageId: number;
  readonly mechanism: GuardMechanism;
  readonly library: string;
  readonly signature: string;
  readonly words: readonly bigint[];
}

const { imageId, mechanism, library, signature, words } = workerData as ShortThreadTask;
const guard = new Guard({ image: Image.attach(imageId), mechanism });
const answer: unknown = guard.load(library).func(signature)(...words);
if (answer !== 0) throw new Error(`${signature} answered ${String(answer)}`);
