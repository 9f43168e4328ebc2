// What a koffi callout costs: SAMPLES times CALLOUTS calls of labs. Prints one line of JSON.
import koffi from 'koffi';

const [samples = 0, callouts = 0] = process.argv.slice(2).map(Number);
const labs = koffi.load('libc.so.6').func('long labs(long)');
const sample = () => {
  const start = process.hrtime.bigint();
  for (let i = 0; i < callouts; i++) labs(-5);
  return Number(process.hrtime.bigint() - start);
};
sample();
process.stdout.write(`${JSON.stringify(Array.from({ length: samples }, () => sample() / callouts))}\n`);
