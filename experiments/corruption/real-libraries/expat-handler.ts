/**
 * Does a parser's handler of the wrong type write the image?
 *
 * Stands for a function pointer of another type in the place of a handler. Expat calls the element handler with (user
 * data, name, attributes). The binding has registered strcpy(3), and the user data is the address of an object in
 * 'old'. So the element's name is copied over the object.
 * Varies: mechanism. Records: the fault, inside the library, or the bytes changed.
 */
import { type CorruptionCase, expectStore } from '../../../src/experiment/index.js';

export const experiment: CorruptionCase = {
  kind: 'corruption',
  summary: 'expat: an element handler that is strcpy(), with an object as user data',
  libraries: ['libexpat.so.1'],
  expected: (setting) => expectStore(setting, 'the name of the element lands on the object'),
  run(trial) {
    const expat = trial.library('libexpat.so.1');
    const text = Buffer.from('<a-name-that-is-longer-than-the-object/>');
    const parser = expat.func('uintptr_t XML_ParserCreate(uintptr_t encoding)')(0);
    expat.func('void XML_SetUserData(uintptr_t parser, uintptr_t data)')(parser, trial.addressIn('old', 64));
    expat.func('void XML_SetStartElementHandler(uintptr_t parser, uintptr_t handler)')(
      parser,
      trial.library('libc.so.6').symbol('strcpy'),
    );
    trial.answered(
      expat.func('int XML_Parse(uintptr_t parser, const uint8_t *text, int bytes, int last)')(
        parser,
        text,
        text.length,
        1,
      ),
    );
  },
};
