/** Image sizes that cost experiments share, and which rows would take too long. Pure. */
import type { CostParameters, CostRow, CostSetting, Mechanism } from '../../src/experiment/index.js';

export const PAGE_BYTES = 4096;
/** Powers of four, 4 KiB to 256 MiB. */
export const ALL_PAGES: readonly number[] = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536];
const QUICK_PAGES: readonly number[] = [16, 1024];
/** From here on mprotect-page takes tens of milliseconds, and would leave the rows beside it few rounds. */
const SLOW_PAGES = 4096;
/** Above, a pair of mprotect calls per page is counted for minutes. */
const MOST_COUNTED_PAGES = 1024;

/** Pages of the image, few first. */
export function imagePages(
  { quick }: Pick<CostSetting, 'quick'>,
  all: readonly number[] = ALL_PAGES,
): readonly number[] {
  return quick ? QUICK_PAGES : all;
}

/** The parameters that tell an image's size. */
export function imageSize(pages: number): { readonly imageBytes: number } {
  return { imageBytes: pages * PAGE_BYTES };
}

/**
 * A row over an image of so many pages. A row of mprotect-page over a large image is measured by itself, and not
 * counted in the guest. Its cost lies on a straight line through the smaller ones.
 */
export function sizedRow(
  setting: CostSetting,
  mechanism: Mechanism,
  pages: number,
  parameters: CostParameters,
): CostRow {
  const { imageBytes: _, ...rest } = parameters;
  const row: CostRow = { mechanism, parameters, options: { pages, ...rest } };
  if (mechanism !== 'mprotect-page') return row;
  if (setting.lane === 'emulated' && pages > MOST_COUNTED_PAGES) {
    return {
      ...row,
      skip:
        `one system call per page over more than ${MOST_COUNTED_PAGES} pages is counted for minutes; what a page ` +
        'costs is known from the smaller images',
    };
  }
  return pages >= SLOW_PAGES ? { ...row, together: `mprotect-page, ${JSON.stringify(parameters)}` } : row;
}
