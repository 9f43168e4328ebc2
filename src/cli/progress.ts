/** Visible progress: listr2 in a terminal, plain lines elsewhere. A step that fails does not stop the others. */
import { Listr } from 'listr2';

import type { Stage, Step } from '../run/options.js';

/** A step that threw. */
export interface StepFailure {
  readonly title: string;
  readonly error: unknown;
}

const PLAIN_EVERY_MS = 3000;

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Runs stages in order, the steps of one at the same time. Returns the failures. */
export async function runStages(stages: readonly Stage[], terminal: boolean): Promise<readonly StepFailure[]> {
  const failures: StepFailure[] = [];
  const guarded = async (stage: Stage, step: Step, update: (text: string) => void): Promise<void> => {
    try {
      await step.run(update);
    } catch (error) {
      failures.push({ title: `${stage.title}: ${step.title}`, error });
      throw error;
    }
  };
  if (terminal) {
    const list = new Listr(
      stages.map((stage) => ({
        title: stage.title,
        task: (_context: unknown, task) =>
          task.newListr(
            stage.steps.map((step) => ({
              title: step.title,
              task: (_inner: unknown, self) =>
                guarded(stage, step, (text) => {
                  self.output = text;
                }),
            })),
            { concurrent: true, exitOnError: false },
          ),
      })),
      { exitOnError: false, rendererOptions: { collapseSubtasks: false } },
    );
    await list.run().catch(() => undefined); // each failure is in `failures`
    return failures;
  }
  const say = (text: string): void => {
    process.stderr.write(`turnkey: ${text}\n`);
  };
  for (const stage of stages) {
    await Promise.all(
      stage.steps.map(async (step) => {
        const title = `${stage.title}: ${step.title}`;
        const start = Date.now();
        let last = start;
        say(title);
        try {
          await guarded(stage, step, (text) => {
            if (Date.now() - last < PLAIN_EVERY_MS) return;
            last = Date.now();
            say(`${title}: ${text}`);
          });
          say(`${title}: done in ${((Date.now() - start) / 1000).toFixed(1)} s`);
        } catch (error) {
          say(`${title}: failed: ${messageOf(error)}`);
        }
      }),
    );
  }
  return failures;
}
