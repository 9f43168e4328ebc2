/** `turnkey campaign` and `turnkey merge`: random faults, replayed, sharded, merged, reported. For a checkout. */
import { randomInt } from 'node:crypto';
import { resolve } from 'node:path';

import { type Command, InvalidArgumentError, Option } from 'commander';

import { type Engine, enginePlan, ENGINES } from '../campaign/engines.js';
import { openLane } from '../campaign/lane.js';
import { merge } from '../campaign/merge.js';
import { compareCampaigns } from '../campaign/report/compare.js';
import { campaignFigures, sentence } from '../campaign/report/figures.js';
import { writeCampaignReport } from '../campaign/report/files.js';
import { holdsCampaign, readCampaign } from '../campaign/report/outcomes.js';
import { makePlan, planFor, replay, runTrials, shardRange } from '../campaign/run.js';
import { eachRecord, RECORDS_FILE } from '../campaign/store.js';
import { NODE, type Process, PROCESSES, STAND_IN, subjectOf } from '../campaign/subjects.js';
import { CAMPAIGN_MECHANISMS, STRATA } from '../campaign/words.js';
import { ExperimentError } from '../record/errors.js';
import { type GuardMechanism, needsKeys } from '../record/words.js';
import { parsePercent } from './compare.js';
import { HERE_OR_GUEST, oneOf, parseMechanisms, parseWhole, refuseFlags, wasGiven } from './options.js';
import { probeKeys } from './probe.js';

/** What `turnkey campaign` itself takes. */
const ALL_FLAGS = [
  ...['seed', 'lane', 'process', 'kernel', 'planted', 'count'],
  ...['mechanisms', 'shard', 'until', 'out', 'report'],
];

/** Faults a stratum in the blocks of a campaign that ends by a rule. */
const LOOK_EVERY = 100;
const DEFAULT_COUNT = 20 * STRATA.length;
const INCOMPLETE = 4;

interface CampaignFlags {
  readonly seed?: number;
  readonly count: number;
  readonly mechanisms?: readonly GuardMechanism[];
  readonly lane: 'native' | 'emulated';
  readonly process: Process;
  readonly shard?: readonly [number, number];
  readonly out?: string;
  readonly until?: number;
  readonly planted: number;
  readonly kernel?: string;
  readonly report: boolean;
}

interface ReplayFlags {
  readonly seed?: number;
  readonly index: number;
  readonly mechanism: readonly GuardMechanism[];
  readonly lane: 'native' | 'emulated';
  readonly process: Process;
  readonly campaign?: string;
  readonly planted: number;
  readonly kernel?: string;
}

function parseShard(text: string): readonly [number, number] {
  const [, part, parts] = /^(\d+)\/(\d+)$/.exec(text) ?? [];
  if (part === undefined || parts === undefined || Number(part) < 1 || Number(part) > Number(parts))
    throw new InvalidArgumentError('It must be I/N, with I from 1 to N.');
  return [Number(part), Number(parts)];
}

const subjectNamed = (process: Process) => (process === 'node' ? NODE : STAND_IN);

/** What can be had in a lane: keys in a guest, or where this CPU has them. */
function mechanismsOf(flags: { readonly lane: string; readonly mechanisms?: readonly GuardMechanism[] }) {
  const hasKeys = flags.lane === 'emulated' || probeKeys().usable;
  return flags.mechanisms ?? CAMPAIGN_MECHANISMS.filter((mechanism) => hasKeys || !needsKeys(mechanism));
}

async function campaign(flags: CampaignFlags): Promise<number> {
  if (flags.until !== undefined && flags.shard !== undefined)
    throw new ExperimentError('--until looks at the whole campaign: it cannot be sharded');
  const mechanisms = mechanismsOf(flags);
  const seed = flags.seed ?? randomInt(2 ** 31);
  const directory = resolve(
    flags.out ?? `results/campaign-${seed}-${flags.process === 'node' ? 'node-' : ''}${flags.lane}`,
  );
  const lane = await openLane(flags.lane, subjectNamed(flags.process), flags.kernel);
  try {
    const until = flags.until === undefined ? null : { halfWidth: flags.until, lookEvery: LOOK_EVERY };
    const plan = await planFor(directory, lane, {
      seed,
      count: flags.count,
      mechanisms,
      planted: flags.planted,
      until,
    });
    const range = flags.shard === undefined ? ([0, plan.count] as const) : shardRange(plan.count, ...flags.shard);
    const started = Date.now();
    let made = 0;
    let said = started;
    const reached = await runTrials(lane, plan, directory, range, () => {
      made++;
      if (Date.now() - said < 3000) return;
      said = Date.now();
      process.stderr.write(
        `turnkey: campaign: ${made} trials, ${((made * 1000) / (said - started)).toFixed(0)} a second\n`,
      );
    });
    const seconds = (Date.now() - started) / 1000;
    process.stdout.write(
      `${made} trials in ${seconds.toFixed(1)} s (${(made / Math.max(seconds, 0.001)).toFixed(0)} a second), ` +
        `faults ${range[0]} to ${reached - 1} of seed ${plan.seed}, ${mechanisms.join(', ')}, lane ${lane.name}\n`,
    );
  } finally {
    await lane.close();
  }
  if (flags.report && flags.shard === undefined) process.stdout.write(`${writeCampaignReport(directory).join('\n')}\n`);
  else process.stdout.write(`${directory}/${RECORDS_FILE}\n`);
  return 0;
}

async function replayCommand(flags: ReplayFlags): Promise<number> {
  const given = flags.campaign === undefined ? undefined : readCampaign(flags.campaign).plan;
  const lane = await openLane(
    given?.lane ?? flags.lane,
    given === undefined ? subjectNamed(flags.process) : subjectOf(given),
    flags.kernel,
  );
  try {
    const options = { count: flags.index + 1, mechanisms: flags.mechanism, planted: flags.planted, until: null };
    const plan = given ?? (await makePlan(lane, { seed: flags.seed ?? 0, ...options }));
    for (const mechanism of flags.mechanism)
      process.stdout.write(`${JSON.stringify(await replay(lane, plan, flags.index, mechanism), null, 1)}\n`);
  } finally {
    await lane.close();
  }
  return 0;
}

function mergeCommand(directories: readonly string[], out: string): number {
  const { plan, records, doubles, differing, gaps } = merge(directories, out);
  process.stdout.write(`${records} of ${plan.count * plan.mechanisms.length} trials in ${out}\n`);
  if (doubles > 0) process.stdout.write(`${doubles} trials were recorded twice, ${differing.length} of them unlike\n`);
  for (const one of differing) process.stdout.write(`unlike: ${one}\n`);
  for (const gap of gaps) process.stdout.write(`missing: ${gap}\n`);
  return gaps.length > 0 || differing.length > 0 ? INCOMPLETE : 0;
}

export { holdsCampaign as isCampaign };

/** A campaign's sentence, and where it was made. */
export function campaignSentence(directory: string): string {
  const figures = campaignFigures(readCampaign(directory));
  const { count, lane, seed } = figures.campaign.plan;
  return `${sentence(figures)} (${count} faults, seed ${seed}, lane ${lane}.)`;
}

/** Writes a campaign's report again. */
export function reportCampaign(directory: string): number {
  process.stdout.write(`${writeCampaignReport(directory).join('\n')}\n`);
  return 0;
}

/** Prints the comparison of two campaigns, and answers whether the second is worse. */
export function compareCampaignsIn(a: string, b: string): boolean {
  const { lines, isWorse } = compareCampaigns(campaignFigures(readCampaign(a)), campaignFigures(readCampaign(b)));
  process.stdout.write(`${lines.join('\n')}\n`);
  return isWorse;
}

/** Prints whether two campaigns' records are the same, but for times. */
function sameCommand(a: string, b: string): number {
  const seen = new Map<string, string>();
  const key = ({ index, mechanism }: { readonly index: number; readonly mechanism: string }): string =>
    `${mechanism} ${index}`;
  eachRecord(a, (record) => seen.set(key(record), JSON.stringify({ ...record, diedNs: 0 })));
  const unlike: string[] = [];
  let both = 0;
  eachRecord(b, (record) => {
    both++;
    if (seen.get(key(record)) !== JSON.stringify({ ...record, diedNs: 0 })) unlike.push(key(record));
    seen.delete(key(record));
  });
  process.stdout.write(`${both - unlike.length} of ${both} trials are the same; ${seen.size} are in ${a} alone\n`);
  for (const one of unlike.slice(0, 20)) process.stdout.write(`unlike: ${one}\n`);
  return unlike.length + seen.size > 0 ? INCOMPLETE : 0;
}

/** Adds the commands. `done` gets the exit code of the one that ran. */
export function addCampaignCommands(program: Command, done: (code: number) => void): void {
  const common = (command: Command): Command =>
    command
      .option('--seed <n>', 'of all faults (default: random, and recorded)', parseWhole(0, 2 ** 31 - 1))
      .option('--lane <lane>', 'native, or emulated: a guest with keys', oneOf(HERE_OR_GUEST), 'native' as const)
      .option('--process <which>', `in whose memory: ${PROCESSES.join(' or ')}`, oneOf(PROCESSES), 'stand-in' as const)
      .option('--kernel <file>', "the guest's kernel")
      .addOption(new Option('--planted <k>').argParser(parseWhole(0, 1000)).default(0).hideHelp());
  const command = common(program.command('campaign'))
    .description('make random faults, the same under every mechanism, and count what they do (docs/campaigns.md)')
    .option('--count <n>', 'faults', parseWhole(1, 2 ** 31 - 1), DEFAULT_COUNT)
    .option('--mechanisms <list>', `comma-separated (default: ${CAMPAIGN_MECHANISMS.join(', ')})`, parseMechanisms)
    .option('--shard <i/n>', 'only the i-th of n parts', parseShard)
    .option(
      '--until <percent>',
      'end once every interval is this narrow (half-width); --count is the most',
      parsePercent,
    )
    .option('--out <dir>', 'directory; a campaign that it holds goes on where it stopped')
    .option('--no-report', 'write records alone')
    .action(async (flags: CampaignFlags) => {
      done(await campaign(flags));
    });
  common(command.command('replay'))
    .description('make one fault of a campaign again')
    .requiredOption('--index <i>', 'of the fault', parseWhole(0, 2 ** 31 - 1))
    .requiredOption('--mechanism <names>', 'under which', parseMechanisms)
    .option('--campaign <dir>', "a campaign's directory: its seed, lane and strata")
    .action(async (_flags: unknown, self: Command) => {
      refuseFlags(self, ['count', 'mechanisms', 'shard', 'until', 'out', 'report'], 'for one fault');
      if (wasGiven(self, 'campaign'))
        refuseFlags(self, ['seed', 'lane', 'process', 'planted'], 'beside --campaign, whose plan says it');
      done(await replayCommand(self.optsWithGlobals<ReplayFlags>()));
    });
  common(command.command('plan'))
    .description('write what an engine takes to run the shards of a campaign and merge them')
    .requiredOption('--engine <engine>', ENGINES.join(', '), oneOf(ENGINES))
    .option('--shards <n>', 'parts', parseWhole(1, 100_000), 8)
    .action((_flags: unknown, self: Command) => {
      refuseFlags(self, ['shard', 'until', 'planted', 'kernel', 'report'], 'for a plan');
      const flags = self.optsWithGlobals<CampaignFlags & { readonly engine: Engine; readonly shards: number }>();
      const { seed, count, lane, process: whose, engine, shards } = flags;
      const out = flags.out ?? `results/campaign-${seed ?? 0}`;
      process.stdout.write(
        enginePlan(engine, {
          seed: seed ?? 0,
          count,
          lane,
          process: whose,
          shards,
          out,
          mechanisms: mechanismsOf(flags),
        }),
      );
      done(0);
    });
  command
    .command('report')
    .description("write a campaign's report.md, report.html and CSV again")
    .argument('<dir>')
    .action((directory: string, _flags: unknown, self: Command) => {
      refuseFlags(self, ALL_FLAGS, 'for a report');
      done(reportCampaign(directory));
    });
  command
    .command('same')
    .description('say whether two campaigns have the same records, but for times')
    .argument('<a>')
    .argument('<b>')
    .action((a: string, b: string, _flags: unknown, self: Command) => {
      refuseFlags(self, ALL_FLAGS, 'for what is recorded');
      done(sameCommand(a, b));
    });
  program
    .command('merge')
    .description('join the shards of one campaign')
    .argument('<dirs...>')
    .requiredOption('--out <dir>', 'directory for the whole')
    .action((directories: readonly string[], { out }: { readonly out: string }) => {
      done(mergeCommand(directories, out));
    });
}
