/**
 * A whole run: which lanes, what in each, in what order. The order keeps measurements honest: nothing else of ours runs
 * while the native lane is timed. The counting guest may run beside others, since instructions do not depend on who
 * else computes.
 */
import { existsSync } from 'node:fs';

import { type Catalogue, describeCost } from '../experiment/catalogue.js';
import { ExperimentError } from '../record/errors.js';
import { missingFiles } from '../record/paths.js';
import {
  type HonestRecord,
  type LaneContext,
  type Run,
  type RunRecord,
  SCHEMA_VERSION,
  type SkippedRecord,
} from '../record/records.js';
import { TRIAL_SPACES } from '../record/trial-image.js';
import type { Lane, RunLane } from '../record/words.js';
import { currentCommit, hostContext, imageFileContext, versions } from './context.js';
import { type BenchClock, clockDetails, laneWarnings } from './cost-records.js';
import { runCosts, type RunCostsOptions } from './costs.js';
import { EmulatedExecutor } from './emulated.js';
import type { Executor } from './executor.js';
import { laneHere, NativeExecutor } from './native.js';
import { type RunOptions, type Stage, type Step } from './options.js';
import { costRowName, makePlan, type Plan, type PlannedLane, type PlanOptions } from './plan.js';
import { compareHonest } from './trial-records.js';
import { runTrials } from './trials.js';
import { WINE_MECHANISMS, WINE_SPACES, WineExecutor } from './wine.js';

/** A record in a few words, for the progress line. */
function summaryOf(record: RunRecord): string {
  const outcome =
    record.kind === 'corruption' ? record.verdict : record.kind === 'skipped' ? `skipped: ${record.reason}` : 'done';
  const name = 'case' in record ? record.case : record.kind === 'skipped' ? record.name : record.experiment;
  return `${name}, ${record.mechanism}: ${outcome}`;
}

/** Time limit in ms, by lane: for one turnkey-bench call (all rows of an experiment) or one program process. */
const COST_LIMIT_MS = { native: 240_000, emulated: 600_000 } as const;

/** A run under way: its stages are run in order, then `finish` gives the document. */
export class RunInProgress {
  readonly #started = new Date().toISOString();
  readonly #records: RunRecord[] = [];
  readonly #contexts: LaneContext[] = [];
  readonly #open = new Set<Executor>();
  readonly #imageContext: Run['context']['imageFile'];

  readonly #catalogue: Catalogue;
  readonly #options: RunOptions;

  /** @throws ExperimentError when the project is not built or the image file cannot be read */
  constructor(catalogue: Catalogue, options: RunOptions) {
    this.#catalogue = catalogue;
    this.#options = options;
    const missing = missingFiles();
    if (missing.length > 0)
      throw new ExperimentError(`the project is not built: ${missing.join(', ')} missing; run npm run build`);
    this.#imageContext = imageFileContext(options.imageFile);
  }

  /** The lanes of this run. `auto`: native always, emulated where the CPU has no keys. */
  get lanes(): readonly RunLane[] {
    if (laneHere() === 'emulated') return ['native']; // in a guest: here, and recorded as emulated
    if (this.#options.lane !== 'auto') return [this.#options.lane];
    return this.#options.nativeKeysReason === null ? ['native'] : ['native', 'emulated'];
  }

  /** What is to be done. */
  stages(): readonly Stage[] {
    const stagesOf: Readonly<Record<RunLane, () => readonly Stage[]>> = {
      native: () => this.#nativeStages(),
      emulated: () => [this.#emulatedStage()],
      wine: () => [this.#wineStage()],
    };
    return this.lanes.flatMap((lane) => stagesOf[lane]());
  }

  #plan(lane: PlannedLane, more: Partial<PlanOptions> = {}): Plan {
    // Nobody waits in a guest for what this machine can show: of the quick set only what needs keys, save the cases
    // that tell the mechanisms apart.
    const onlyKeys = this.#options.quickCases === true && lane.lane === 'emulated' && this.lanes.includes('native');
    const { quick, quickCases = false, quickCosts = quick, full = false, only, deny, keys, harden } = this.#options;
    return makePlan(this.#catalogue, {
      lanes: [lane],
      mechanisms: this.#options.mechanisms,
      seed: this.#options.seed,
      repeat: this.#options.repeat,
      quickCases,
      quickCosts,
      cores: hostContext().cores,
      full,
      onlyKeys,
      ...(only === undefined ? {} : { only }),
      ...(deny === undefined ? {} : { deny }),
      ...(keys === undefined ? {} : { keys }),
      ...(harden === undefined ? {} : { harden }),
      ...more,
    });
  }

  #costOptions({ lane, keys }: LaneContext, onRow: (text: string) => void): RunCostsOptions {
    const here = lane === 'emulated' ? 'emulated' : 'native';
    const { seed, quick, quickCosts = quick } = this.#options;
    const { cores, virtualised } = hostContext();
    const onClock = (clock: BenchClock): void => {
      if (here === 'emulated') return; // the lane's context tells of its clock already
      this.#addDetails(lane, clockDetails(clock), laneWarnings(clock, virtualised));
    };
    return {
      setting: { lane: here, keys, quick: quickCosts, cores },
      seed,
      timeoutMs: COST_LIMIT_MS[here],
      onRow,
      onClock,
    };
  }

  #trialOptions(
    total: number,
    update: (text: string) => void,
  ): { readonly imageFile?: string; readonly onDone: (record: RunRecord) => void } {
    let done = 0;
    return {
      ...(this.#options.imageFile === undefined ? {} : { imageFile: this.#options.imageFile }),
      onDone(record) {
        done++;
        update(`${done} of ${total}: ${summaryOf(record)}`);
      },
    };
  }

  #nativeStages(): readonly Stage[] {
    const host = hostContext();
    const reason = this.#options.nativeKeysReason;
    const here = laneHere();
    const context: LaneContext = {
      lane: here,
      keys: reason === null,
      keysReason: reason,
      cpu: host.cpu,
      kernel: host.kernel,
      details: {},
    };
    const plan = this.#plan(context);
    const executor = new NativeExecutor(context, Math.max(1, Math.min(host.cores, 8)));
    this.#contexts.push(context);
    this.#records.push(...plan.skipped);
    const stages: Stage[] = [];
    const noTimes =
      'this is an emulated machine, where times mean nothing; counted from outside: turnkey run --lane emulated';
    if (here === 'emulated') {
      this.#records.push(
        ...plan.costs.map((row): SkippedRecord => ({
          kind: 'skipped',
          of: 'cost',
          name: costRowName(row.name, row.row),
          mechanism: row.row.mechanism,
          lane: here,
          reason: noTimes,
        })),
      );
    }
    if (plan.trials.length > 0) {
      stages.push({
        title: `${here} lane`,
        steps: [
          {
            title: `${plan.trials.length} trials`,
            run: async (update) => {
              this.#records.push(
                ...(await this.#timed(here, plan.trials.length, () =>
                  runTrials(executor, plan.trials, this.#trialOptions(plan.trials.length, update)),
                )),
              );
            },
          },
        ],
      });
    }
    if (plan.costs.length > 0 && here === 'native') {
      stages.push({
        title: 'native lane, timed',
        steps: [
          {
            title: `${plan.costs.length} cost rows`,
            run: async (update) => {
              this.#records.push(...(await runCosts(executor, plan.costs, this.#costOptions(context, update))));
            },
          },
        ],
      });
    }
    return stages;
  }

  /** Needed libraries that the guest must be given; those that this machine lacks are left to the trial to report. */
  #libraries(): readonly string[] {
    const names = new Set(
      [...this.#catalogue.honest, ...this.#catalogue.corruption].flatMap(
        ({ experiment }) => experiment.libraries ?? [],
      ),
    );
    return [...names].filter((name) =>
      ['/lib/x86_64-linux-gnu', '/usr/lib/x86_64-linux-gnu', '/lib64', '/usr/lib64', '/usr/lib'].some((folder) =>
        existsSync(`${folder}/${name}`),
      ),
    );
  }

  async #boot(mode: 'behaviour' | 'counting'): Promise<EmulatedExecutor> {
    const executor = await EmulatedExecutor.boot({
      mode,
      extraFiles: [...this.#libraries(), ...(this.#options.imageFile === undefined ? [] : [this.#options.imageFile])],
      ...(this.#options.kernel === undefined ? {} : { kernel: this.#options.kernel }),
      ...(this.#options.onLog === undefined ? {} : { onLog: this.#options.onLog }),
    });
    this.#open.add(executor);
    return executor;
  }

  /** Says in a lane's details how long its trials took: of the user's time, no cost of any mechanism. */
  async #timed<T>(lane: Lane, trials: number, work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    const result = await work();
    this.#addDetails(lane, {
      trials: `${trials}, in ${Math.ceil((performance.now() - start) / 1000)} s of the run's time`,
    });
    return result;
  }

  #addDetails(lane: Lane, details: LaneContext['details'], warnings: LaneContext['warnings'] = []): void {
    const at = this.#contexts.findIndex((context) => context.lane === lane);
    const known = this.#contexts[at];
    if (known === undefined) return;
    this.#contexts[at] = {
      ...known,
      details: { ...known.details, ...details },
      // each call of turnkey-bench tells of its clock: the last word holds
      ...(warnings.length === 0 ? {} : { warnings }),
    };
  }

  async #shut(executor: Executor): Promise<void> {
    this.#open.delete(executor);
    await executor.close();
  }

  /** A guest that cannot be had is rows that say so, for everything planned in it. */
  #giveUp(plan: Plan, what: 'trials' | 'costs', error: unknown): void {
    const message = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
    const reason = `no emulated machine: ${message}`;
    const base = { kind: 'skipped', lane: 'emulated', reason, broken: true } as const;
    if (what === 'trials')
      this.#records.push(
        ...plan.trials.map((trial): SkippedRecord => ({
          ...base,
          of: trial.kind,
          name: trial.name,
          mechanism: trial.mechanism,
        })),
      );
    else
      this.#records.push(
        ...plan.costs.map((row): SkippedRecord => ({
          ...base,
          of: 'cost',
          name: costRowName(row.name, row.row),
          mechanism: row.row.mechanism,
        })),
      );
  }

  #emulatedStage(): Stage {
    // The plan needs only to know that the guest has keys; its kernel is told to the cases when it has been booted.
    const planFor = (kernel: string): Plan => this.#plan({ lane: 'emulated', keys: true, keysReason: null, kernel });
    const planned = planFor('');
    // Which trials are skipped may depend on the kernel; without trials there is nothing to boot for.
    const ofTrials = ({ of }: SkippedRecord): boolean => of !== 'cost';
    this.#records.push(...planned.skipped.filter((row) => planned.trials.length === 0 || !ofTrials(row)));
    const steps: Step[] = [];
    if (planned.trials.length > 0) {
      steps.push({
        title: 'trials in a guest',
        run: async (update) => {
          update('booting');
          let executor: EmulatedExecutor;
          try {
            executor = await this.#boot('behaviour');
          } catch (error) {
            this.#records.push(...planned.skipped.filter(ofTrials));
            this.#giveUp(planned, 'trials', error);
            throw error;
          }
          try {
            this.#contexts.push(executor.context);
            const { trials, skipped } = planFor(executor.context.kernel);
            this.#records.push(
              ...skipped.filter(ofTrials),
              ...(await this.#timed('emulated', trials.length, () =>
                runTrials(executor, trials, this.#trialOptions(trials.length, update)),
              )),
            );
          } finally {
            await this.#shut(executor);
          }
        },
      });
    }
    if (planned.costs.length > 0) {
      steps.push({
        title: `${planned.costs.length} cost rows, instructions counted in a guest`,
        run: async (update) => {
          update('booting');
          let executor: EmulatedExecutor;
          try {
            executor = await this.#boot('counting');
          } catch (error) {
            this.#giveUp(planned, 'costs', error);
            throw error;
          }
          try {
            if (planned.trials.length === 0) this.#contexts.push(executor.context);
            this.#records.push(
              ...(await runCosts(executor, planned.costs, this.#costOptions(executor.context, update))),
            );
          } finally {
            await this.#shut(executor);
          }
        },
      });
    }
    return { title: 'emulated lane', steps };
  }

  /** What the program of that lane knows of, of what was asked for. */
  #wineStage(): Stage {
    const run = async (update: (text: string) => void): Promise<void> => {
      update('starting Wine');
      const executor = await WineExecutor.start();
      const { context, names } = executor;
      this.#contexts.push(context);
      const { only } = this.#options;
      const { trials, skipped } = this.#plan(
        { lane: 'wine', keys: context.keys, keysReason: context.keysReason, kernel: '' },
        {
          deny: 'write',
          keys: 'image',
          mechanisms: this.#options.mechanisms.filter((mechanism) => WINE_MECHANISMS.includes(mechanism)),
          only: (family, name) =>
            family === 'corruption' && names.includes(name) && (only === undefined || only(family, name)),
        },
      );
      const work = (): ReturnType<typeof runTrials> =>
        runTrials(executor, trials, this.#trialOptions(trials.length, update));
      this.#records.push(...skipped, ...(await this.#timed('wine', trials.length, work)));
    };
    return { title: 'wine lane', steps: [{ title: 'trials under Wine', run }] };
  }

  /** Ends what is still running. */
  async abort(): Promise<void> {
    await Promise.all([...this.#open].map((executor) => this.#shut(executor)));
  }

  /** The document. */
  finish(): Run {
    const honest = this.#records.filter((record): record is HonestRecord => record.kind === 'honest');
    const rest = this.#records.filter((record) => record.kind !== 'honest');
    const { seed, quick } = this.#options;
    const measured = new Set(rest.flatMap((record) => (record.kind === 'cost' ? [record.experiment] : [])));
    return {
      schemaVersion: SCHEMA_VERSION,
      context: {
        started: this.#started,
        finished: new Date().toISOString(),
        commit: currentCommit(),
        seed,
        quick,
        host: hostContext(),
        lanes: this.#contexts,
        versions: versions(),
        imageFile: this.#imageContext,
        spaces: this.lanes.includes('wine') ? WINE_SPACES : TRIAL_SPACES,
        experiments: this.#catalogue.cost.filter(({ name }) => measured.has(name)).map(describeCost),
      },
      records: [...rest, ...compareHonest(honest)],
    };
  }
}
