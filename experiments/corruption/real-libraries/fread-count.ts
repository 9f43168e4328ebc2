/**
 * Does fread() with too large a count run on into the image?
 *
 * Stands for size and count confused: 512 bytes are read into 256, next to the image. The bytes are in the FILE's
 * buffer already, so that it is the C library that copies, and not the kernel.
 * Varies: mechanism. Records: the fault, inside the library, or the bytes changed.
 * After a fault inside stdio the FILE's lock is held; whether the next user of stdio notices depends on who it is.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'fread() of 512 bytes into 256',
  expected: (setting) => expectStore(setting, 'the library runs on into the first space'),
  run(trial) {
    const libc = trial.library('libc.so.6');
    const file = libc.func('uintptr_t tmpfile(void)')();
    libc.func('size_t fwrite(const uint8_t *from, size_t bytes, size_t count, uintptr_t file)')(
      Buffer.alloc(1024, 0x41),
      1,
      1024,
      file,
    );
    libc.func('void rewind(uintptr_t file)')(file);
    libc.func('int fgetc(uintptr_t file)')(file); // fills the buffer
    trial.answered(
      libc.func('size_t fread(uintptr_t to, size_t bytes, size_t count, uintptr_t file)')(
        trial.neighbour(256).address,
        1,
        512,
        file,
      ),
    );
  },
};
