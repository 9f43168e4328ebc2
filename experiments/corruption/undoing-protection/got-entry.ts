/**
 * Can the callee make the VM itself write the image, through a global offset table?
 *
 * Stands for a wild write that hits a table of function pointers of the VM's modules, and for hooking libraries. The
 * callee redirects koffi's entry for napi_get_cb_info to a function that stores 8 bytes to 'old' and goes on to the
 * right one. koffi calls it with the VM's rights on its next call.
 * Varies: mechanism. Records: bytes changed. Such tables lie on key 0; a module linked with -z relro -z now has them
 * read-only.
 */
import { type CorruptionCase, expectRound } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: "an entry of koffi's global offset table redirected",
  expected: () => expectRound('the store is made later, by code that runs as the VM'),
  remedy: { kinds: ['vm'], text: 'modules of the VM linked with -z relro -z now, so that their tables are read-only' },
  run(trial) {
    const nothing = trial.foreign('void foreign_nothing(void)');
    trial.answered(
      trial.foreign('int64_t foreign_redirect(const char *module, const char *symbol, uint64_t address)')(
        'koffi.node',
        'napi_get_cb_info',
        trial.addressIn('old'),
      ),
    );
    nothing();
    trial.note(
      `the redirected function was called ${String(trial.unguarded('int foreign_redirected_calls(void)')())} times`,
    );
  },
};
