/** A hundred thousand faults through koffi. Native only: in the guest, where it works too, it takes minutes. */
import t from 'tap';

import { CalloutError, Guard } from '../../src/index.js';
import { FOREIGN } from '../support/callout.js';

const lib = new Guard({ mechanism: 'flag' }).load(FOREIGN);

t.test('a hundred thousand faults in a row', async (t) => {
  const write = lib.func('int test_write(uint64_t address, int value)');
  const before = process.memoryUsage().rss;
  let caught = 0;
  for (let i = 0; i < 100_000; i++) {
    try {
      write(0x1000 + 8 * (i & 63), i);
    } catch (error) {
      if (error instanceof CalloutError && error.address === BigInt(0x1000 + 8 * (i & 63))) caught++;
    }
  }
  t.equal(caught, 100_000);
  t.ok(process.memoryUsage().rss - before < 200 << 20, 'and nothing grows without end');
});
