"""The HTML of a report: one file that needs nothing else, no script and no network."""

from __future__ import annotations

import base64
import html
import struct
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from albu_learned.comparison.samples import as_png

__all__ = ["escape", "figure", "items", "page", "section", "table"]

# Nothing may be loaded or run, whatever got into the page.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --soft: #52606d; --paper: #ffffff;
  --panel: #f3f5f7; --line: #d5dbe1; --accent: #0b5cad; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --soft: #a6b1bd; --paper: #14181d; --panel: #20262d; --line: #3a434d;
    --accent: #7cb8f5; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  overflow-wrap: anywhere; }
h1 { margin: 0 0 .25rem; font-size: 1.9rem; line-height: 1.2; }
h2 { margin: 2.75rem 0 .75rem; padding-top: 1rem; border-top: 1px solid var(--line);
  font-size: 1.4rem; }
h3 { margin: 1.75rem 0 .5rem; font-size: 1.1rem; }
p, li { max-width: 48rem; }
.soft, figcaption, caption { color: var(--soft); font-size: .9rem; }
.conclusion { margin: 1.5rem 0; padding: 1rem 1.25rem; border-left: .35rem solid var(--accent);
  border-radius: .25rem; background: var(--panel); }
.conclusion p { margin: 0; max-width: 60rem; }
.conclusion p + p { margin-top: .6rem; }
.conclusion .first { font-size: 1.3rem; font-weight: 600; line-height: 1.4; }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .35rem; }
th, td { padding: .35rem .8rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; overflow-wrap: normal; vertical-align: top; }
thead th { border-bottom: 2px solid var(--line); color: var(--soft); font-weight: 600; }
th:first-child, .words { text-align: left; }
tbody th, td.words { white-space: normal; min-width: 9rem; overflow-wrap: break-word; }
td.words { max-width: 26rem; }
tbody th { max-width: 16rem; font-weight: 600; }
tbody tr:nth-child(even) { background: var(--panel); }
figure { margin: 1rem 0 1.5rem; }
/* Plots are drawn on white, and wide ones stay readable on a telephone by scrolling. */
figure .scroll { padding: .5rem; border: 1px solid var(--line); border-radius: .35rem;
  background: #ffffff; }
img { display: block; max-width: 100%; height: auto; }
.swatch { display: inline-block; width: .8em; height: .8em; margin-right: .5em;
  border-radius: .15em; border: 1px solid var(--line); }
pre { overflow-x: auto; padding: .9rem 1rem; border-radius: .35rem; background: var(--panel);
  font-size: .9rem; overflow-wrap: normal; user-select: all; }
@media (max-width: 40rem) {
  img.wide { max-width: none; width: 44rem; }
  body { padding: 1rem .9rem 3rem; }
  th, td { padding: .3rem .5rem; }
}
@media print {
  :root { color-scheme: light; --ink: #000000; --soft: #444444; --paper: #ffffff;
    --panel: #f3f5f7; --line: #cccccc; --accent: #0b5cad; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  .scroll { overflow: visible; }
  img, img.wide { max-width: 100%; max-height: 23cm; width: auto; }
  table { font-size: 8pt; }
  th, td { padding: .2rem .4rem; }
  pre { white-space: pre-wrap; }
  tr, figure, .conclusion { break-inside: avoid; }
  h2, h3, caption, thead { break-after: avoid; }
}
"""


def escape(text: object) -> str:
    return html.escape(str(text))


def page(title: str, body: Iterable[str]) -> str:
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',  # a browser would ask a server for one
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            "</head>",
            "<body>",
            *body,
            "</body>",
            "</html>",
            "",
        ]
    )


def section(title: str, *parts: str) -> str:
    """Parts below a heading; nothing at all without parts."""
    inside = [part for part in parts if part]
    return "\n".join(
        ["<section>", f"<h2>{escape(title)}</h2>", *inside, "</section>"] * bool(inside)
    )


def items(texts: Iterable[object]) -> str:
    lines = [f"<li>{escape(text)}</li>" for text in texts]
    return "\n".join(["<ul>", *lines, "</ul>"]) if lines else ""


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    caption: str = "",
    words: Collection[int] = (),
) -> str:
    """Every row begins with its name; `words` are the columns of text, all others are numbers.

    It scrolls in a box of its own, which the keyboard reaches too.
    """
    kinds = [' class="words"' if i in words else "" for i in range(len(heads))]
    lines = ['<div class="scroll" tabindex="0">', "<table>"]
    if caption:
        lines.append(f"<caption>{escape(caption)}</caption>")
    head = [f'<th scope="col"{k}>{escape(h)}</th>' for h, k in zip(heads, kinds, strict=True)]
    lines += ["<thead>", f"<tr>{''.join(head)}</tr>", "</thead>", "<tbody>"]
    for name, *values in rows:
        cells = [f"<td{k}>{escape(v)}</td>" for v, k in zip(values, kinds[1:], strict=True)]
        lines.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>')
    return "\n".join([*lines, "</tbody>", "</table>", "</div>"])


def figure(path: str | Path, alt: str, caption: str = "") -> str:
    """A picture, in the page itself. What is no PNG is made one."""
    content = Path(path).read_bytes()
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        content = as_png(path)
    width, height = struct.unpack(">II", content[16:24])
    wide = ' class="wide"' if width > 700 else ""
    lines = [
        "<figure>",
        '<div class="scroll" tabindex="0">',
        f'<img{wide} alt="{escape(alt)}" width="{width}" height="{height}" '
        f'src="data:image/png;base64,{base64.b64encode(content).decode()}">',
        "</div>",
    ]
    if caption:
        lines.append(f"<figcaption>{escape(caption)}</figcaption>")
    return "\n".join([*lines, "</figure>"])
