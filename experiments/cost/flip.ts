/**
 * What does it cost to deny writes to the whole image and to allow them again, and what does each page add?
 *
 * One deny-and-restore pair is timed, with nothing else around it. It consists of one of these pairs:
 *
 *   two PKRU writes, as the gate makes them
 *   two calls of glibc's pkey_set for each key
 *   two mprotect calls for each range, or for each page
 *   two pkey_mprotect calls for each range
 *
 * native/bench/flip.c tries each flip before it is timed. read(2) into closed pages must answer EFAULT, and must work
 * after the flip back.
 * Varies: mechanism; pages (1 to 65,536 in powers of four); touched or not (a page that was never written has no
 * page-table entry to change); huge pages, where they are to be had; 1, 4, 15 spaces, each with its key. Records:
 * samples of one pair, in ns (native) or instructions (counted guest). A straight line over pages is fitted by the
 * report.
 */
import type { CostExperiment, CostParameters, CostRow, CostSetting, Mechanism } from '../../src/experiment/index.js';
import { imagePages, imageSize, sizedRow } from '../support/sizes.js';

const MECHANISMS: readonly Mechanism[] = ['mprotect-page', 'mprotect-range', 'pkeys-glibc', 'pkeys'];
const HUGE_PAGE_BYTES = 2 * 1024 * 1024;

function rows(
  setting: CostSetting,
  pages: number,
  mechanisms: readonly Mechanism[],
  more: CostParameters,
): readonly CostRow[] {
  return mechanisms.map((mechanism) => sizedRow(setting, mechanism, pages, { ...imageSize(pages), ...more }));
}

export const experiment: CostExperiment = {
  kind: 'cost',
  summary: 'one deny-and-restore pair over the whole image',
  title: 'Closing and opening the image',
  question: 'What does it cost to take the write right away from the whole image and to give it back?',
  order: 110,
  shows: 'lines',
  parameters: {
    imageBytes: { role: 'size', unit: 'bytes' },
    touched: { role: 'row', usual: true },
    pageBytes: { role: 'row', unit: 'bytes', usual: 4096 },
    spaces: { role: 'row', unit: 'count', usual: 1 },
    call: { role: 'row', alone: true, usual: 'mprotect' },
  },
  headline: {
    picture: 'one pair of closing and opening the whole image',
    sentence: 'closing and opening the whole image',
  },
  bench: 'flip',
  rows(setting) {
    const sizes = imagePages(setting);
    const plain = sizes.flatMap((pages) => rows(setting, pages, MECHANISMS, { touched: true }));
    if (setting.quick) return plain;
    return [
      ...plain,
      ...sizes.flatMap((pages) => rows(setting, pages, MECHANISMS, { touched: false })),
      ...sizes
        .filter((pages) => pages >= 1024)
        .flatMap((pages) =>
          rows(setting, pages, ['mprotect-range', 'pkeys'], { touched: true, pageBytes: HUGE_PAGE_BYTES }),
        ),
      ...[4, 15].flatMap((spaces) =>
        sizes
          .filter((pages) => pages >= 16)
          .flatMap((pages) =>
            rows(setting, pages, ['mprotect-range', 'pkeys-glibc', 'pkeys'], { touched: true, spaces }),
          ),
      ),
      ...sizes.flatMap((pages) => rows(setting, pages, ['mprotect-range'], { touched: true, call: 'pkey_mprotect' })),
    ];
  },
};
