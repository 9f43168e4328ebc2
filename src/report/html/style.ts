/** The style sheet. Colours are variables with a value for each theme; charts use the same ones. */

/**
 * [light, dark]. Mechanisms' colours keep apart under the common colour blindnesses (after Okabe and Ito); dashes and
 * shapes repeat them.
 */
const PALETTE: Readonly<Record<string, readonly [string, string]>> = {
  bg: ['#fdfdfb', '#14161a'],
  ink: ['#191b1f', '#e8e8e4'],
  muted: ['#5a5f67', '#a2a8b1'],
  rule: ['#dcdcd6', '#32363d'],
  panel: ['#f5f5f1', '#1c1f25'],
  grid: ['#e6e6e0', '#2a2e35'],
  axis: ['#a9aba8', '#565c66'],
  link: ['#1b5aa5', '#82b4f2'],
  focus: ['#1b5aa5', '#82b4f2'],
  'good-bg': ['#dcefe2', '#173a27'],
  'good-ink': ['#12552c', '#9fe0b5'],
  'bad-bg': ['#f9dcd7', '#4b1d19'],
  'bad-ink': ['#8d1c10', '#ffb3a6'],
  'neutral-bg': ['#f7eac6', '#443612'],
  'neutral-ink': ['#6d4d00', '#f0d68a'],
  'missing-bg': ['#f0f0ec', '#212429'],
  'missing-ink': ['#6a6e75', '#9299a3'],
  'm-none': ['#696d75', '#9aa0a9'],
  'm-flag': ['#4f5b6e', '#b5c0d2'],
  'm-page': ['#c2400b', '#ff8a5c'],
  'm-range': ['#946200', '#f0b440'],
  'm-naive': ['#8b4a52', '#dd9aa4'],
  'm-pkeys': ['#0b62b0', '#5fb0ff'],
  'm-glibc': ['#27718a', '#7fd0e4'],
  'm-model': ['#8a3fa0', '#d59be6'],
  'm-process': ['#a02c68', '#f08bbd'],
  'm-part-gate': ['#0b62b0', '#5fb0ff'],
  'm-part-kernel': ['#8a5c00', '#f0b440'],
  'm-part-handler': ['#27718a', '#7fd0e4'],
  'm-part-javascript': ['#8a3fa0', '#d59be6'],
};

function variables(theme: 0 | 1): string {
  return Object.entries(PALETTE)
    .map(([name, pair]) => `--${name}:${pair[theme]}`)
    .join(';');
}

/** The palette for a selector, by the reader's scheme; `data-theme` on it decides where it is set. */
export function paletteCss(selector: string): string {
  return `${selector}{${variables(0)};color-scheme:light}
@media (prefers-color-scheme:dark){${selector}:not([data-theme=light]){${variables(1)};color-scheme:dark}}
${selector}[data-theme=dark]{${variables(1)};color-scheme:dark}
@media print{${selector},${selector}[data-theme=dark],${selector}:not([data-theme=light]){
${variables(0)};color-scheme:light}}`;
}

const MECHANISM_INKS = Object.keys(PALETTE)
  .filter((name) => name.startsWith('m-'))
  .map((name) => `.${name}{--m:var(--${name})}`)
  .join('');

/** The whole style sheet. */
export const STYLE = `${paletteCss(':root')}
${MECHANISM_INKS}
:root{--sans:system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",Arial,sans-serif;
 --serif:Charter,"Bitstream Charter","Sitka Text",Cambria,"Liberation Serif",Georgia,serif;
 --mono:ui-monospace,"SF Mono",Menlo,Consolas,"Liberation Mono",monospace}
*{box-sizing:border-box}
html{scroll-padding-top:1rem;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 var(--sans);overflow-wrap:break-word}
a{color:var(--link);text-underline-offset:.15em;text-decoration-thickness:.06em}
code,.code{font-family:var(--mono);font-size:.88em}
:focus-visible{outline:2px solid var(--focus);outline-offset:2px;border-radius:2px}
.skip{position:absolute;left:-999rem}.skip:focus{left:1rem;top:1rem;background:var(--bg);padding:.4rem .8rem;z-index:9}
.page{display:grid;grid-template-columns:minmax(0,1fr);max-width:1360px;margin:0 auto;padding:0 16px}
header.top{display:flex;flex-wrap:wrap;gap:.4rem 1.2rem;align-items:center;justify-content:space-between;
 padding:1rem 0 .6rem;font-size:.86rem;color:var(--muted)}
header.top b{color:var(--ink);letter-spacing:.01em}
.theme{display:inline-flex;border:1px solid var(--rule);border-radius:99px;padding:2px;margin:0}
.theme legend{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.theme label{cursor:pointer;position:relative}.theme input{position:absolute;opacity:0;inset:0;margin:0;cursor:pointer}
.theme span{display:block;padding:.12rem .7rem;border-radius:99px}
.theme input:checked+span{background:var(--ink);color:var(--bg)}
.theme input:focus-visible+span{outline:2px solid var(--focus);outline-offset:2px}
h1,h2{font-family:var(--serif);font-weight:600;line-height:1.18;letter-spacing:-.005em;text-wrap:balance}
h1{font-size:clamp(1.65rem,1.1rem + 2.2vw,2.6rem);margin:.7rem 0 1rem;max-width:24em}
h2{font-size:clamp(1.3rem,1.1rem + .8vw,1.7rem);margin:0 0 .5rem}
h3{font-size:1.02rem;margin:1.8rem 0 .4rem;line-height:1.3}
p{margin:.5rem 0 .8rem;max-width:46em}
main>section{padding:2.2rem 0 1rem;border-top:1px solid var(--rule);margin-top:2rem}
main>section.first{border:0;margin:0;padding:0}
.answer{list-style:none;padding:0;margin:0 0 1.6rem;display:grid;gap:.7rem 2.4rem;
 grid-template-columns:repeat(auto-fit,minmax(min(100%,300px),1fr))}
.answer li{font-family:var(--serif);font-size:1.12rem;line-height:1.48;border-top:2px solid var(--ink);
 padding-top:.6rem}
.answer b{font-weight:650}
.answer .tag{display:block;font:600 .74rem/1.4 var(--sans);letter-spacing:.02em;color:var(--muted);margin-bottom:.25rem}
.lead{color:var(--muted)}
figure{margin:1.2rem 0;min-width:0}
figcaption{font-size:.92rem;margin-bottom:.5rem;max-width:60em}
figcaption b{font-weight:650}
.panels{display:grid;gap:1.4rem 2rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));
 align-items:start}
.panels.main{grid-template-columns:repeat(auto-fit,minmax(min(100%,330px),1fr))}
.panel{min-width:0;display:grid;grid-template-rows:subgrid;grid-row:span 4;row-gap:0;
 grid-template-columns:minmax(0,1fr);align-content:start}
.panel>*{align-self:start}
.panel h4{margin:0;font-size:.95rem;line-height:1.3}
.panel .lane{margin:.05rem 0 .5rem;font-size:.82rem;color:var(--muted)}
.panel.model{outline:1px dashed var(--m-model);outline-offset:.65rem}
.panel.model h4{color:var(--m-model)}
svg.chart{display:block;width:100%;height:auto;font-family:var(--sans)}
.mark{cursor:default}.mark:focus{outline:none}.mark:hover,.mark:focus{stroke:var(--ink);stroke-width:2px}
.mark:focus-visible{stroke:var(--focus);stroke-width:3px}
#tip{position:fixed;z-index:20;max-width:min(24rem,calc(100vw - 24px));background:var(--ink);color:var(--bg);
 font-size:.82rem;line-height:1.4;padding:.4rem .6rem;border-radius:5px;pointer-events:none}
#tip[hidden]{display:none}
.key{display:flex;flex-wrap:wrap;gap:.3rem 1.3rem;list-style:none;padding:0;margin:.6rem 0;font-size:.86rem;
 color:var(--muted)}
.key b{color:var(--m,var(--ink));font-weight:650}
.key .badge{margin-right:.35rem}
details>summary{cursor:pointer;font-size:.88rem;color:var(--link);width:fit-content;padding:.15rem 0}
details.lane-block{margin:1.2rem 0}details.lane-block>summary{font-size:1.02rem;font-weight:650;color:var(--ink);
 width:auto}
details.lane-block>summary .lead{font-weight:400;font-size:.88rem;margin-left:.4rem}
.scroll{overflow-x:auto;max-width:100%;margin:.5rem 0 1rem}
table{border-collapse:collapse;font-size:.86rem;line-height:1.4;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:.32rem .8rem .32rem 0;border-bottom:1px solid var(--rule)}
thead th{font-weight:600;color:var(--muted);vertical-align:bottom;border-bottom-color:var(--axis)}
tbody th{font-weight:400}
td.n,th.n{text-align:right;padding-left:.6rem}
table.wide{width:100%}
td.good,td.bad,td.neutral,td.missing{white-space:nowrap}
td.good{color:var(--good-ink)}td.bad{color:var(--bad-ink);font-weight:600}td.neutral{color:var(--neutral-ink)}
 td.missing{color:var(--missing-ink)}
caption{text-align:left;color:var(--muted);padding-bottom:.3rem}
.badge{display:inline-flex;align-items:center;justify-content:center;gap:.3em;min-width:1.7rem;height:1.55rem;
 padding:0 .35rem;border-radius:4px;font:600 .8rem/1 var(--sans);border:0}
.badge.good{background:var(--good-bg);color:var(--good-ink)}.badge.bad{background:var(--bad-bg);color:var(--bad-ink)}
.badge.neutral{background:var(--neutral-bg);color:var(--neutral-ink)}
 .badge.missing{background:none;color:var(--missing-ink);font-weight:400}
table.matrix{width:100%;table-layout:fixed}
table.matrix th,table.matrix td{padding:1px 1px;border-bottom:1px solid var(--grid);vertical-align:middle}
table.matrix thead th{position:sticky;top:0;z-index:1;background:var(--bg);vertical-align:bottom;padding-bottom:.4rem;
 font-size:.78rem;overflow-wrap:anywhere;color:var(--m,var(--muted))}
table.matrix col.case{width:13rem}
table.matrix tbody th{padding-right:.6rem;font-size:.88rem;overflow-wrap:anywhere}
table.matrix tr.group th{padding-top:1rem;font-weight:650;color:var(--muted);border-bottom-color:var(--rule);
 font-size:.86rem}
table.matrix td .badge{width:100%;height:1.6rem;font-size:.715rem;padding:0 .1rem;gap:.25em}
table.matrix button.badge{cursor:pointer;font-family:inherit}
table.matrix button.badge:hover{box-shadow:inset 0 0 0 2px currentColor}
.badge.surprise{box-shadow:inset 0 0 0 2px currentColor}
.badge i,.badge u,.badge em{font-style:normal;text-decoration:none}.badge em{font-weight:800}
.badge b{font-weight:600;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.badge i{font-weight:700}.badge u{display:none}
dialog.evidence{position:fixed;inset:0 0 0 auto;max-width:none;width:min(560px,100vw);height:100dvh;max-height:none;
 margin:0;border:0;border-left:1px solid var(--rule);background:var(--bg);color:var(--ink);padding:1.1rem 1.3rem 2rem;
 overflow-y:auto;font-size:.92rem;box-shadow:0 0 60px rgb(0 0 0/.25)}
dialog.evidence::backdrop{background:rgb(0 0 0/.28)}
dialog.evidence h3{margin:.2rem 2.4rem .2rem 0;font-size:1.1rem}
.evidence .close{position:absolute;right:.9rem;top:.9rem}
.evidence dl,.facts{display:grid;grid-template-columns:minmax(6.5rem,max-content) minmax(0,1fr);gap:.3rem 1rem;
 margin:.8rem 0;font-size:.88rem}
.evidence dt,.facts dt{color:var(--muted)}.evidence dd,.facts dd{margin:0}
.evidence ul,.notes{margin:0;padding-left:1.1rem}.notes{font-size:.88rem}
.evidence pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--panel);padding:.6rem;border-radius:4px;
 font:.8rem/1.45 var(--mono);margin:.2rem 0}
button.plain-button,.button{font:600 .86rem/1 var(--sans);color:var(--ink);background:none;border:1px solid var(--axis);
 border-radius:5px;padding:.45rem .75rem;cursor:pointer;text-decoration:none;display:inline-block}
button.plain-button:hover,.button:hover{background:var(--panel)}
.surprises{list-style:none;padding:0;margin:.8rem 0;display:grid;gap:.7rem}
.surprises>li{border-left:3px solid var(--bad-ink);padding:.1rem 0 .1rem .8rem;min-width:0}
.surprises p{margin:.1rem 0;font-size:.92rem}
.spaces{display:flex;flex-wrap:wrap;gap:6px;margin:.8rem 0;padding:0;list-style:none}
.spaces li{flex:1 1 120px;border:1px solid var(--axis);border-radius:6px;padding:.55rem .7rem;min-width:0;
 background:var(--panel);font-size:.86rem}
.spaces .open{border-style:dashed;background:none}
.spaces b{display:block;font-size:.98rem}
.spaces .keyno{display:inline-block;margin-top:.25rem;font-weight:650}
nav.toc{font-size:.86rem}
nav.toc ol{list-style:none;padding:0;margin:.4rem 0;display:grid;gap:.22rem}
nav.toc a{color:var(--muted);text-decoration:none}nav.toc a:hover{color:var(--link);text-decoration:underline}
footer{border-top:1px solid var(--rule);margin-top:2.5rem;padding:1.2rem 0 3rem;color:var(--muted);font-size:.84rem}
@media (min-width:1240px){
 .page{grid-template-columns:176px minmax(0,1fr);column-gap:52px;padding:0 32px}
 header.top,footer{grid-column:1/-1}
 nav.toc{position:sticky;top:1.2rem;align-self:start;padding-top:1.2rem}
}
@media (min-width:1100px){.panels.main.with-model{grid-template-columns:1.32fr 1.32fr 1fr}}
@media (max-width:1239px){nav.toc{border-block:1px solid var(--rule);min-width:0}
 nav.toc ol{display:flex;gap:1.3rem;overflow-x:auto;white-space:nowrap;scrollbar-width:none;padding:.2rem 0}}
@media (max-width:760px){
 body{font-size:15.5px}
 table.matrix col.case{width:auto}
 table.matrix col.m{width:calc(min(2.05rem,(100vw - 32px - 6.6rem)/var(--columns)))}
 table.matrix thead th{position:static}
 table.matrix thead th.m{height:11rem;padding:0}
 table.matrix thead th.m span{writing-mode:vertical-rl;transform:rotate(180deg);white-space:nowrap;max-height:10.8rem;
  margin:0 auto;display:block}
 table.matrix .badge b,table.matrix .badge i{display:none}
 table.matrix .badge u{display:inline}
 table.matrix td .badge{padding:0;min-width:0}
 table.matrix tbody th{font-size:.84rem;line-height:1.25}
 th,td{padding-right:.6rem}
}
@media (prefers-reduced-motion:no-preference){html{scroll-behavior:smooth}}
@media print{
 .theme,nav.toc,.skip,.no-print,#tip,dialog{display:none!important}
 body{font-size:10pt}.page{display:block;max-width:none;padding:0}
 main>section{break-inside:auto;margin-top:1rem;padding-top:1rem}h2,h3{break-after:avoid}
  .panel,tr,.surprises li{break-inside:avoid}
 .answer{grid-template-columns:repeat(3,1fr);gap:.5rem 1.2rem}.answer li{font-size:.95rem}
 .panels.main.with-model{grid-template-columns:1.3fr 1.3fr 1fr}
 .badge{border:1px solid currentColor;-webkit-print-color-adjust:exact;print-color-adjust:exact}
 .scroll{overflow:visible}
}
`;
