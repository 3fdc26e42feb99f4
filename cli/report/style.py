"""The page's style: readable on a phone, by day and by night, and on paper."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --dim: #5b6570; --paper: #fff; --line: #d5dae0; --shade: #f3f5f7;
  --good: #1b7f3b; --bad: #b3261e; --mvp: #cfd8dc; --shadow: #f6d98b; --scale: #9fd3b4; --complete: #8fb8de;
  --bar: #4f83a8 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --dim: #9aa5b1; --paper: #15181b; --line: #363d44;
  --shade: #1f2428; --good: #6fcf8f; --bad: #ff8a80; --mvp: #4a555c; --shadow: #7d6420; --scale: #2f6b47;
  --complete: #2f5a83; --bar: #6fa5cb } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto; padding: 1rem;
  max-width: 62rem; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; margin: .5rem 0 } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem } h3 { font-size: 1rem }
h2, h3 { break-after: avoid }
p, ul { margin: .4rem 0 } .dim, small { color: var(--dim) } .good { color: var(--good) } .bad { color: var(--bad) }
.good, .bad { font-weight: 600 } code { font-size: .85em }
.wide { overflow-x: auto; margin: .5rem 0 }
table { border-collapse: collapse; width: 100%; font-size: .92em }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .5rem; text-align: left; vertical-align: top }
th { color: var(--dim); font-weight: 600; white-space: nowrap } tr { break-inside: avoid }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
td { min-width: 4.5rem; overflow-wrap: break-word } td:last-child { min-width: 11rem }
td.number:last-child { min-width: 4.5rem }
.few table { max-width: 44rem }
@media screen and (max-width: 40rem) {
  .wide:not(.few) thead { display: none } .wide:not(.few) :is(table, tbody, tr) { display: block }
  .wide:not(.few) tr { border-bottom: 1px solid var(--line); padding: .35rem 0 }
  .wide:not(.few) :is(td, td.number, td:last-child) { display: flow-root; border: 0; padding: .05rem 0 .05rem 7.6rem;
    min-width: 0; text-align: left; white-space: normal }
  .wide:not(.few) td::before { content: attr(data-head); color: var(--dim); float: left; width: 7rem;
    margin-left: -7.6rem }
  .wide:not(.few) td:empty { display: none } }
.box { background: var(--shade); border-left: 4px solid var(--bad); padding: .5rem .8rem; margin: 1rem 0 }
svg { display: block; width: 100%; min-width: 40rem; font: 12px system-ui, sans-serif; fill: var(--ink) }
.axis { stroke: var(--line) } .tick { fill: var(--dim); font-size: 11px } .inside { font-size: 11px }
.s-mvp { fill: var(--mvp) } .s-shadow { fill: var(--shadow) } .s-scale { fill: var(--scale) }
.s-complete { fill: var(--complete) } .s-nothing { fill: var(--line) }
.m-good { stroke: var(--good); stroke-width: 2 } .m-bad { stroke: var(--bad); stroke-width: 3; stroke-dasharray: 4 2 }
.b-bar { fill: var(--bar) } .b-bad { fill: var(--bad) }
@media print { body { max-width: none; padding: 0; font-size: 10pt } .wide { overflow: visible }
  svg { min-width: 0 } h2 { break-before: auto } }
"""
