"""How the page looks: colours in light and dark, one style sheet, and what a browser may load beside it: nothing."""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

LIGHT: Final[Mapping[str, str]] = {
    "page": "#f5f6f8",
    "surface": "#ffffff",
    "line": "#d5dae1",
    "edge": "#757e8a",
    "text": "#1a1f26",
    "muted": "#525b67",
    "link": "#0a58a8",
    "good": "#0d6630",
    "good-soft": "#dcf5e4",
    "warn": "#7a4a00",
    "warn-soft": "#fdeec6",
    "bad": "#a3122a",
    "bad-soft": "#fde3e6",
    "calm": "#3f4854",
    "calm-soft": "#e6e9ee",
    "track": "#dfe3e9",
}
DARK: Final[Mapping[str, str]] = {
    "page": "#0f1318",
    "surface": "#171c23",
    "line": "#2c343f",
    "edge": "#7d8896",
    "text": "#e7ebf0",
    "muted": "#a3adba",
    "link": "#82bdff",
    "good": "#6fdc97",
    "good-soft": "#12301f",
    "warn": "#f2c45a",
    "warn-soft": "#382a0b",
    "bad": "#ff9ba6",
    "bad-soft": "#43161d",
    "calm": "#c3ccd7",
    "calm-soft": "#29313b",
    "track": "#2f3843",
}
_SHEET: Final = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--text);font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,\
"Helvetica Neue",Arial,sans-serif;overflow-wrap:anywhere}
table{overflow-wrap:break-word}
.wide tbody th,.wide .free{overflow-wrap:anywhere}
a{color:var(--link);text-underline-offset:.15em}
a:focus-visible,button:focus-visible,input:focus-visible,select:focus-visible,summary:focus-visible\
{outline:3px solid var(--link);outline-offset:2px;border-radius:4px}
h1{font-size:1.6rem;line-height:1.2;margin:0;letter-spacing:-.01em}
h2{font-size:1.15rem;line-height:1.3;margin:0 0 .75rem}
h3{font-size:1rem;margin:0}
p{margin:.35rem 0;max-width:72ch}
code{font:.875em/1.4 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
time,.num{font-variant-numeric:tabular-nums}
time{white-space:nowrap}
.skip{position:absolute;left:-999rem}
.skip:focus{left:1rem;top:.5rem;background:var(--surface);padding:.5rem .75rem;z-index:1}
header,main,footer{max-width:76rem;margin:0 auto;padding:0 1.25rem}
header{display:flex;flex-wrap:wrap;gap:.25rem 1rem;align-items:baseline;justify-content:space-between;\
padding-top:1rem;padding-bottom:1rem;color:var(--muted);font-size:.875rem}
header p,footer p{margin:0}
header b{color:var(--text);font-size:1rem}
footer{color:var(--muted);font-size:.875rem;padding-top:1.5rem;padding-bottom:2.5rem}
section,.panel{background:var(--surface);border:1px solid var(--line);border-radius:12px;padding:1.25rem;\
margin:1.25rem 0 0}
.top{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:center}
.muted,.small{color:var(--muted)}
.small{font-size:.8125rem;font-weight:400}
.badge{display:inline-block;padding:.1rem .6rem;border:1px solid transparent;border-radius:1rem;font-size:.8125rem;\
font-weight:600;white-space:nowrap}
.good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}.calm{color:var(--calm)}
.badge.good,.cell.good{background:var(--good-soft)}.badge.warn,.cell.warn{background:var(--warn-soft)}
.badge.bad,.cell.bad{background:var(--bad-soft)}.badge.calm,.cell.calm{background:var(--calm-soft)}
.counts{display:flex;flex-wrap:wrap;gap:.75rem;list-style:none;margin:1.25rem 0 0;padding:0}
.counts a{display:block;min-width:7.5rem;padding:.6rem 1rem;background:var(--surface);border:1px solid var(--line);\
border-radius:12px;text-decoration:none;font-size:.875rem}
.counts a:hover{border-color:var(--edge)}
.counts a[aria-current]{border-color:var(--link);box-shadow:0 0 0 1px var(--link)}
.counts b{display:block;font-size:1.5rem;line-height:1.2;font-variant-numeric:tabular-nums}
form{display:flex;flex-wrap:wrap;gap:.75rem;align-items:end;margin:1.25rem 0 0}
label{font-size:.8125rem;color:var(--muted);display:block}
input,select,button{font:inherit;color:var(--text);background:var(--surface);border:1px solid var(--edge);\
border-radius:8px;padding:.4rem .7rem;min-height:2.5rem;max-width:100%}
input{width:14rem}
button{font-weight:600;cursor:pointer;background:var(--calm-soft)}
table{width:100%;border-collapse:collapse;font-size:.9375rem}
th{text-align:left;font-weight:600;vertical-align:top}
thead th{font-size:.8125rem;color:var(--muted);padding:.35rem .6rem}
tbody th,tbody td{padding:.6rem .6rem;border-top:1px solid var(--line);vertical-align:top}
.wide tbody th{font-size:1rem;min-width:11rem}
.servers{table-layout:fixed}
.servers th:first-child{width:30%}.servers th:nth-child(2){width:20%}.servers th:nth-child(3){width:23%}
.servers th:nth-child(4){width:16%}.servers th:nth-child(5){width:11%}
.servers tbody *{overflow-wrap:anywhere}
.bar{display:block;width:100%;min-width:6rem;height:.5rem;margin:.3rem 0;overflow:hidden;border-radius:.25rem;\
background:var(--track)}
.bar .left{fill:currentColor}.bar .mark{fill:var(--surface)}
.grid .cell{border-radius:8px;padding:.35rem .6rem;min-width:7rem}
.cell .small{color:inherit}
.grid{width:auto;border-collapse:separate;border-spacing:.35rem}
.grid thead th{padding:0 .6rem}
.grid thead th:first-child{padding-left:0}
.grid tbody th,.grid tbody td{border:0}
.grid tbody th{padding:.35rem .75rem .35rem 0;min-width:6.5rem}
.stages{list-style:none;margin:0;padding:0}
.stages>li{display:grid;grid-template-columns:2rem 1fr;padding:0 0 1.1rem;position:relative}
.stages>li:not(:last-child)::before{content:"";position:absolute;left:.72rem;top:1.7rem;bottom:.1rem;width:2px;\
background:var(--line)}
.stages>li:last-child{padding-bottom:0}
.sign{width:1.5rem;height:1.5rem;border-radius:50%;text-align:center;line-height:1.5rem;font-weight:700;font-size:.875rem}
.sign.good{background:var(--good-soft)}.sign.warn{background:var(--warn-soft)}
.sign.bad{background:var(--bad-soft)}.sign.calm{background:var(--calm-soft)}
.help{border-left:3px solid var(--line);margin:.6rem 0 0;padding:.1rem 0 .1rem .9rem}
.plain{list-style:none;margin:0;padding:0}.plain li{margin:.35rem 0}
.found+.found,.found li+li{border-top:1px solid var(--line);margin-top:1rem;padding-top:1rem}
.scroll{overflow-x:auto}
.facts{margin-top:1rem}
dl{display:grid;grid-template-columns:minmax(7rem,auto) 1fr;gap:.4rem 1.25rem;margin:0}
dt{color:var(--muted);font-size:.875rem}dd{margin:0}
.two{display:grid;gap:0 1.25rem}
@media(min-width:64rem){.two{grid-template-columns:7fr 5fr;align-items:start}}
nav p{margin:0}
nav{margin:0 0 .5rem;font-size:.875rem}
.pages p{display:flex;flex-wrap:wrap;gap:1rem;}
.pages{margin:1rem 0 0}
@media(max-width:47.9375rem){
header,main,footer{padding-left:1rem;padding-right:1rem}
section,.panel{padding:1rem}
h1{font-size:1.35rem}
.servers th:first-child{width:auto}
.wide,.wide tbody,.wide tr,.wide th,.wide td{display:block}
.wide thead{position:absolute;left:-999rem}
.wide tr{padding:.8rem 0;border-top:1px solid var(--line)}
.wide tr:first-child{border-top:0}
.wide tbody th,.wide tbody td{border:0;padding:.15rem 0;overflow-wrap:anywhere}
.wide td[data-title]:not(.bare)::before{content:attr(data-title) " ";color:var(--muted);font-size:.8125rem}
.grid,.grid tbody,.grid tr{display:block;width:100%}
.grid thead{position:absolute;left:-999rem}
.grid tr{display:grid;grid-template-columns:1fr 1fr;gap:.4rem;padding:.5rem 0}
.grid tbody th{grid-column:1/-1;padding:0}
.grid td:empty{display:none}
.grid .cell{min-width:0}
.grid .cell::before{content:"Port " attr(data-title);display:block;font-size:.8125rem;font-weight:600}
.counts{display:grid;grid-template-columns:1fr 1fr}.counts a{min-width:0}
form{display:grid;grid-template-columns:1fr 1fr}
input,select,button{width:100%}
form>div:first-of-type,form>div:last-of-type{grid-column:1/-1}
dl{grid-template-columns:1fr;gap:0}dd{margin:0 0 .5rem}
}
"""


def _variables(colours: Mapping[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colours.items())


SHEET: Final = (
    f":root{{color-scheme:light dark;{_variables(LIGHT)}}}"
    f"@media(prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}{_SHEET}"
)
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(SHEET.encode()).digest()).decode()}'; "
    "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy: this style sheet and nothing else, so that no script can run whatever is written."""
