/**
 * The report of a campaign: figures from records alone, the packed form tells the same, the page holds no request.
 */
import { appendFileSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import t from 'tap';

import { compareCampaigns } from '../../src/campaign/report/compare.js';
import { campaignFigures, sentence } from '../../src/campaign/report/figures.js';
import { writeCampaignReport } from '../../src/campaign/report/files.js';
import { PACKED_CAMPAIGN, readCampaign } from '../../src/campaign/report/outcomes.js';
import { PLAN_FILE, RECORDS_FILE, writePlan } from '../../src/campaign/store.js';
import { type Plan, STRATA, type TrialRecord } from '../../src/campaign/words.js';
import { writeRun } from '../../src/record/store.js';
import { exampleRun } from '../support/example-run.js';
import { ownFolder, turnkeyIn } from '../support/turnkey.js';

const ROUNDS = 20;
const directory = mkdtempSync(join(tmpdir(), 'turnkey-campaign-report-'));
t.teardown(() => {
  rmSync(directory, { recursive: true });
});

const plan: Plan = {
  schema: 1,
  seed: 3,
  count: ROUNDS * STRATA.length,
  mechanisms: ['none', 'pkeys'],
  lane: 'emulated',
  kernel: '6.1',
  cpu: 'a CPU <b>',
  version: '0',
  commit: null,
  program: '',
  planted: 0,
  until: null,
  digest: '0',
  strata: STRATA.map((name, at) => ({ name, bytes: at < 18 ? 4096 : 0, ranges: '' })),
};
writePlan(directory, plan);
for (let index = 0; index < plan.count; index++)
  for (const mechanism of plan.mechanisms) {
    const inImage = index % STRATA.length < 5;
    // with nothing, half of the stores into the image change it, and the program never knows
    const bad = mechanism === 'none' && inImage && Math.floor(index / STRATA.length) % 2 === 0;
    const record: TrialRecord = {
      index,
      mechanism,
      stratum: STRATA[index % STRATA.length] ?? 'eden',
      moment: 'middle',
      means: 'bit',
      address: '0x1000',
      bytes: 1,
      verdict: bad ? 'damaged' : 'harmless',
      end: 'right',
      image: bad ? 'differs' : 'equal',
      unit: 2,
    };
    appendFileSync(join(directory, RECORDS_FILE), `${JSON.stringify(record)}\n`);
  }

t.test('rates, pairs and the waterfall', (t) => {
  const figures = campaignFigures(readCampaign(directory));
  t.match(sentence(figures), /50\.0 % \(.*\) with nothing; none seen \(at most .*\) under keys/);
  t.match(figures.pairs, [{ onlyFirst: 50, onlySecond: 0 }]);
  t.match(figures.waterfalls[0], { faults: 100, steps: [{ faults: 50 }, { faults: 50 }, { faults: 0 }] });
  t.end();
});

t.test('two campaigns side by side: the same are no different, and more harm is worse', (t) => {
  const figures = campaignFigures(readCampaign(directory));
  const same = compareCampaigns(figures, figures);
  t.match(same.lines, [/^none, the image \(emulated lane, then emulated\): 50\.0 %.*: no difference seen$/]);
  t.notOk(same.isWorse);
  const [none] = figures.mechanisms;
  const harmful = figures.mechanisms.map((one) => ({ ...one, image: none?.image ?? one.image }));
  const worse = compareCampaigns(figures, { ...figures, mechanisms: harmful });
  t.ok(worse.isWorse);
  t.match(
    worse.lines.join('\n'),
    /^pkeys, the image \(emulated lane, then emulated\): none seen .*, then 50\.0 %.*: worse$/m,
  );
  t.end();
});

t.test('the packed campaign gives the same report, without its records', (t) => {
  writeCampaignReport(directory);
  const before = ['report.md', 'report.html', 'campaign.csv'].map((name) =>
    readFileSync(join(directory, name), 'utf8'),
  );
  rmSync(join(directory, RECORDS_FILE));
  rmSync(join(directory, PLAN_FILE));
  t.ok(readFileSync(join(directory, PACKED_CAMPAIGN)).length < 1000);
  writeCampaignReport(directory);
  t.same(
    ['report.md', 'report.html', 'campaign.csv'].map((name) => readFileSync(join(directory, name), 'utf8')),
    before,
  );
  const [, page = ''] = before;
  t.notMatch(page, /(src|href)="https?:/);
  t.match(page, /a CPU &lt;b&gt;/);
  t.match(page, /turnkey campaign replay --seed 3 --index 0 --mechanism none/);
  const targets = new Set([...page.matchAll(/ id="(replay-[^"]+)"/g)].map(([, name]) => name));
  const links = [...page.matchAll(/<a class="mark" tabindex="-?\d" href="#([^"]+)"/g)].map(([, name]) => name);
  t.ok(links.length > 100, `${links.length} marks are links`);
  t.same(
    links.filter((name) => !targets.has(name)),
    [],
    'each leads to a command that makes its fault again',
  );
  t.end();
});

t.test('a flag that a campaign has no use for is wrong usage', (t) => {
  const folder = ownFolder();
  const turnkey = turnkeyIn(folder);
  const wrong: readonly [readonly string[], RegExp][] = [
    [['report', directory, '--limits', 'here.md'], /--limits means nothing for a campaign/],
    [['compare', directory, directory, '--all'], /--all means nothing for campaigns/],
    [['campaign', 'plan', '--engine', 'local', '--no-report'], /--no-report means nothing for a plan/],
    [['campaign', '--count', '9', 'report', directory], /--count means nothing for a report/],
    [
      ['campaign', 'replay', '--campaign', directory, '--index', '1', '--mechanism', 'none', '--seed', '3'],
      /--seed means nothing beside --campaign/,
    ],
  ];
  for (const [args, message] of wrong) {
    const { code, err } = turnkey(args);
    t.equal(code, 2, args.join(' '));
    t.match(err, message);
  }
  t.equal(turnkey(['compare', directory, directory]).code, 0);
  writeRun(folder, exampleRun);
  t.match(turnkey(['compare', directory, folder]), { code: 1, err: /a campaign cannot be compared with a run/ });
  t.end();
});

t.test("a run's report says the sentence of the campaign in its directory, and leads to it", (t) => {
  const folder = ownFolder();
  writeRun(folder, exampleRun);
  mkdirSync(join(folder, 'campaign'));
  copyFileSync(join(directory, PACKED_CAMPAIGN), join(folder, 'campaign', PACKED_CAMPAIGN));
  t.equal(turnkeyIn(folder)(['report', folder]).code, 0);
  const said = sentence(campaignFigures(readCampaign(directory)));
  t.ok(readFileSync(join(folder, 'report.md'), 'utf8').includes(said), said);
  t.match(readFileSync(join(folder, 'report.html'), 'utf8'), /<a href="campaign\/report\.html">/);
  t.end();
});
