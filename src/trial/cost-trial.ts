/**
 * The program that measures one row of a cost experiment once, in a process of its own:
 *
 *   node --expose-gc cost-trial.js EXPERIMENT SETTINGS-JSON      (CostTrialSettings)
 *
 * Prints one line with what the experiment's `measure` returned. Native lane only.
 */
import { loadCost } from '../experiment/catalogue.js';
import { COST_MARK, type CostTrialSettings } from '../experiment/protocol.js';
import { randomBelow } from '../record/random.js';

const [name = '', text = '{}'] = process.argv.slice(2);
const settings = JSON.parse(text) as CostTrialSettings;
const experiment = await loadCost(name);
if (!('measure' in experiment)) throw new TypeError(`${name} is not measured by JavaScript`);
const measurement = await experiment.measure({ ...settings, random: randomBelow(settings.seed) });
process.stdout.write(`\n${COST_MARK}${JSON.stringify(measurement)}\n`, () => process.exit(0));
