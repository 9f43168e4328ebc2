/**
 * Is a write one past a lent buffer, inside the loan's page, noticed?
 *
 * Stands for `<=` where `<` was meant. The loan is 100 bytes at the start of its page; the callee writes 101.
 * Keys and page protection see pages, not bytes: the 101st byte lies in the rest of the loan's own page. It belongs to
 * nobody, since every loan has pages of its own, and is never copied back. Nothing is damaged and nothing is noticed,
 * under any mechanism. With the buffer's end flush with the page's (loan-past-page) it would be.
 * Varies: mechanism. Records: that the byte arrived (a note), and that nothing else did.
 */
import type { CorruptionCase } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: '101 bytes written to a loan of 100 that begins its page',
  remedy: {
    kinds: ['vm'],
    text:
      'Lend with the end flush to the guard page (loan-past-page); bounds inside a page need compiled-in ' +
      'checks (AddressSanitizer) or memory tagging.',
  },
  expected: () => ({
    verdicts: ['harmless'],
    why: "the byte past the buffer lies in the loan's own page, which is open and belongs to nobody else",
  }),
  run(trial) {
    const loan = trial.lend(100);
    const overflow = trial.foreign('uint64_t foreign_overflow(uint8_t *start, uint64_t bytes, uint8_t value)');
    overflow(loan, 101, 0x41);
    const past = trial.foreign('uint64_t foreign_checksum(const uint8_t *bytes, uint64_t count)');
    const clean = past(Buffer.concat([Buffer.alloc(100, 0x41), Buffer.alloc(1)]), 101);
    trial.note(
      past(loan, 101) === clean ? 'the byte past the loan did not change' : 'the byte past the loan changed, unnoticed',
    );
    loan.release();
  },
};
