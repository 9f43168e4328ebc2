/** The sections about costs: the ladder, how many callouts one can afford, and one for each experiment. */
import type { ExperimentContext } from '../../record/description.js';
import { LANES } from '../../record/words.js';
import type { Basis } from './basis.js';
import { addedPerCallout, breakEvenTable } from './break-even.js';
import { affordablePanels, overheadPanels } from './break-even-charts.js';
import { suffered, sufferedTable } from './bystanders.js';
import { costAxis, intervalOf, type Panel } from './charts.js';
import { choicesFound, choicesTable } from './choices.js';
import { costTables, fitsTable, rungsTable, statisticsTable } from './cost-tables.js';
import { experimentsOf } from './costs.js';
import { experimentPanels } from './experiment-charts.js';
import { FAULT_PARTS, faultTable, type FaultTimeline, faultTimelines } from './fault-parts.js';
import { formatCount } from './format.js';
import { gateParts, gateTable } from './gate-parts.js';
import { koffiKeys, koffiTable, koffiText } from './koffi-keys.js';
import { type Ladder, laddersOf } from './ladder.js';
import { modelRunText, modelSteps, modelTable } from './model-run.js';
import { applicationRates, ratesTable } from './rates.js';
import { type Block, charts, heading, type Section, section, tables, text } from './sections.js';
import { tenantsTable } from './tenants.js';
import { describeCost, valueOf } from './variation.js';
import { breakEvenOfVirtual, threadsOfVirtual, virtualFormulaTable, virtualPanels } from './virtual-keys.js';
import { LANE_MEANINGS } from './words.js';

function ladderPanel({ lane, rungs }: Ladder): Panel {
  const unit = rungs[0]?.cost.unit ?? 'ns';
  return {
    lane,
    title: unit === 'ns' ? 'Time' : 'Executed instructions',
    note: `${lane} lane: ${LANE_MEANINGS[lane]}`,
    chart: {
      kind: 'dots',
      name: `Cost ladder, ${lane} lane`,
      x: costAxis(
        rungs.map(({ cost }) => cost),
        unit,
      ),
      rows: rungs.map(({ label, cost }) => ({
        label,
        dots: [{ look: cost.mechanism, x: cost.value, text: `${label}: ${describeCost(cost)}`, ...intervalOf(cost) }],
      })),
    },
  };
}

/** From a raw call to another process: one rung for each way, over the largest image that all have. */
function ladderSection({ cells, ratios }: Basis): readonly Section[] {
  const ladders = laddersOf(cells);
  if (ladders.length === 0) return [];
  return section('ladder', 'Cost ladder', [
    text(
      'From a raw call to a callee in another process: each way of making or guarding one call, over the ' +
        'largest image that all of them were measured with. The scale is logarithmic.',
    ),
    ...charts(ladders.map(ladderPanel)),
    ...tables(...ladders.map(({ lane, rungs }) => rungsTable(lane, rungs, ratios))),
  ]);
}

/** What a mechanism adds to a callout, times the callouts of a second. */
function breakEvenSection(basis: Basis): readonly Section[] {
  const added = addedPerCallout(basis);
  if (added.length === 0) return [];
  const { model } = basis;
  const crossings = applicationRates(basis)
    .filter(({ callouts, callbacks }) => callouts + callbacks > 0)
    .map(
      ({ application, calloutsPerSecond, callbacksPerSecond }) =>
        `${application} ${formatCount(calloutsPerSecond + callbacksPerSecond)}`,
    );
  const affordable = affordablePanels(added, model);
  return section('break-even', 'How many callouts can one afford?', [
    text([
      'What a mechanism adds to one callout, times the callouts made in a second. Where a line reaches 100 %, ' +
        'a processor does nothing else.',
      crossings.length === 0
        ? ''
        : [
            ' The ',
            { link: 'applications', to: '#cost-applications' },
            ` of this run cross into foreign code and back so often in a second, unguarded: ${crossings.join('; ')}.`,
          ],
    ]),
    ...charts(overheadPanels(added, model)),
    ...(affordable.length === 0 ? [] : [heading('By image size'), ...charts(affordable)]),
    ...tables(breakEvenTable(basis, added)),
  ]);
}

function faultPanels(timelines: readonly FaultTimeline[]): readonly Panel[] {
  const lanes = LANES.filter((lane) => timelines.some((timeline) => timeline.lane === lane));
  return lanes.map((lane): Panel => {
    const here = timelines.filter((timeline) => timeline.lane === lane);
    const unit = here[0]?.unit ?? 'ns';
    return {
      lane,
      title: unit === 'ns' ? 'Time of one failed callout' : 'Instructions of one failed callout',
      note: `${lane} lane: ${LANE_MEANINGS[lane]}`,
      chart: {
        kind: 'bars',
        name: `Parts of a failed callout, ${lane} lane`,
        title: unit === 'ns' ? 'time' : 'instructions',
        unit,
        parts: FAULT_PARTS,
        rows: here.map(({ mechanism, occurrence, parts }) => ({
          label: `${mechanism}${occurrence === 'first' ? ', first' : ''}`,
          segments: parts.map(({ name, value }, part) => ({
            part,
            value,
            text:
              `${mechanism}, ${occurrence === 'first' ? 'the first fault of its process' : 'a later fault'}, ` +
              `${name}: ${valueOf({ unit }, value)}, ${lane} lane`,
          })),
        })),
      },
    };
  });
}

function faultBlocks(basis: Basis): readonly Block[] {
  const timelines = faultTimelines(basis);
  if (timelines.length === 0) return [];
  return [
    heading('From the bad store to the caught error'),
    text(
      [
        'Parts are differences of rows measured in the same rounds. ',
        { code: 'first' },
        ' is the first fault of its process.',
      ],
      true,
    ),
    {
      kind: 'parts',
      names: FAULT_PARTS.filter((name) => timelines.some(({ parts }) => parts.some((part) => part.name === name))),
    },
    ...charts(faultPanels(timelines)),
    ...tables(faultTable(timelines)),
  ];
}

/** What an experiment's section has besides its charts and its figures. */
function moreBlocks(basis: Basis, { name, measures }: ExperimentContext): readonly Block[] {
  switch (measures) {
    case 'fault':
      return faultBlocks(basis);
    case 'applications':
      return tables(ratesTable(basis, applicationRates(basis)));
    case 'model of keys': {
      const steps = modelSteps(basis);
      return [text(modelRunText(steps), true), ...tables(modelTable(steps))];
    }
    case 'calls by koffi': {
      const known = koffiKeys(basis);
      return known.length === 0 ? [] : [heading('Under keys'), text(koffiText(known)), ...tables(koffiTable(known))];
    }
    case 'gate':
      return tables(gateTable(gateParts(basis)));
    case 'bystanders':
      return tables(sufferedTable(basis, name, suffered(basis)));
    case 'choices':
      return tables(...choicesTable(basis, choicesFound(basis)));
    case 'tenants':
      return tables(...tenantsTable(basis));
    case 'virtual keys':
      return virtualBlocks(basis);
    default:
      return [];
  }
}

function virtualBlocks(basis: Basis): readonly Block[] {
  const panels = virtualPanels(basis);
  if (panels.length === 0) return [];
  return [
    heading('How often a key must change hands, and when that stops paying'),
    text(
      'A hit enters an image that has a key; a miss evicts another image and loads this one. The gain of virtual ' +
        'keys over mprotect is the hit ratio, since a miss costs about what an mprotect pair costs.',
    ),
    ...charts(panels),
    ...tables(breakEvenOfVirtual(basis), threadsOfVirtual(basis), virtualFormulaTable(basis)),
  ];
}

function experimentSection(basis: Basis, experiment: ExperimentContext): readonly Section[] {
  const cells = basis.cells.filter(
    (cost) => cost.experiment === experiment || cost.experiment.name === experiment.name,
  );
  return section(`cost-${experiment.name}`, experiment.title, [
    ...(experiment.question === '' ? [] : [text(experiment.question)]),
    ...charts(LANES.flatMap((lane) => experimentPanels(experiment, cells, lane, basis.ratios))),
    ...moreBlocks(basis, experiment),
    ...tables(
      ...costTables(experiment, cells, basis.ratios),
      statisticsTable(experiment, cells, basis.ratios),
      fitsTable(experiment, cells),
    ),
  ]);
}

/** All sections about costs. */
export function costSections(basis: Basis): readonly Section[] {
  return [
    ...ladderSection(basis),
    ...breakEvenSection(basis),
    ...experimentsOf(basis.cells).flatMap((experiment) => experimentSection(basis, experiment)),
  ];
}
