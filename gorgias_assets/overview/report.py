"""The report: one page with a period's picture, its numbers and their definitions. It loads nothing."""

import base64
from collections.abc import Iterable, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import dagster as dg
import pandas as pd
from upath import UPath

from gorgias_assets.overview.measures import MEASURES
from gorgias_assets.overview.period import Period, written
from gorgias_assets.overview.picture import COLOURS, png_of, svg_of

DARK = {"ink": "#e6eaee", "muted": "#98a4b0", "rule": "#36404a", "paper": "#171d23"}
STYLE = """
:root { color-scheme: light dark; %s }
@media (prefers-color-scheme: dark) { :root { %s } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 76rem;
       margin: 0 auto; padding: 1rem; }
svg { width: 100%%; height: auto; max-width: 60rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 0.5rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.45rem; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap; }
th { color: var(--muted); font-weight: 500; vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child { text-align: left; }
dt { font-weight: 600; margin-top: 0.6rem; }
dd { margin: 0; max-width: 46rem; }
"""


def report_metadata(period: Period, folder: str) -> dict[str, Any]:
    """Return the picture, and the report's place. If one of them cannot be made, warn: the rows matter more."""
    try:
        png = base64.b64encode(png_of(period)).decode()
    except ModuleNotFoundError as error:
        dg.get_dagster_logger().warning(
            f"{error.name} is not installed, so there is neither a picture nor a report; pip install "
            "'gorgias-assets[overview]'."
        )
        return {}
    picture = dg.MetadataValue.md(f"![Support, {period.title}](data:image/png;base64,{png})")
    try:
        place = _write(_page(period), UPath(folder) / f"overview-{period.days[-1]:%Y-%m-%d}.html")
    except (OSError, ImportError) as error:  # a disk that is full or read-only; a missing package for s3 and the like
        dg.get_dagster_logger().warning(
            f"The report could not be written ({type(error).__name__}); check the folder of reports. The picture is in "
            "the metadata."
        )
        return {"picture": picture}
    return {"picture": picture, "report": place}


def _write(page: str, url: UPath) -> dg.MetadataValue[Any]:
    """Write a file of this machine whole or not at all; a store does so by itself.

    Only its owner can read a new file, which has agents' names in it, or open a new folder; one that is there keeps
    its mode.
    """
    if url.protocol not in ("", "file", "local"):
        url.write_text(page, encoding="utf-8")
        return dg.MetadataValue.url(str(url))
    place = Path(url.path).absolute()
    missing = [folder for folder in place.parents if not folder.exists()]
    for folder in (*reversed(missing), place.parent):
        folder.mkdir(mode=0o700, exist_ok=True)
    with NamedTemporaryFile("w", encoding="utf-8", dir=place.parent, prefix=".overview-", delete=False) as file:
        file.write(page)
    with suppress(FileNotFoundError):
        Path(file.name).chmod(place.stat().st_mode & 0o777)
    Path(file.name).replace(place)
    return dg.MetadataValue.path(str(place))


def _page(period: Period) -> str:
    title = escape(f"Support, {period.title}")
    light, dark = (" ".join(f"--{name}: {colour};" for name, colour in theme.items()) for theme in (COLOURS, DARK))
    days = period.daily.assign(label=[f"{day:%a %-d %b}" for day in period.days]).iloc[::-1]
    definitions = "\n".join(
        f"<dt>{escape(measure.title)}</dt><dd>{escape(measure.definition)}</dd>" for measure in MEASURES
    )
    total = period.total.to_frame().T.assign(label="All days")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE % (light, dark)}</style>
</head>
<body>
{svg_of(period)}
<h2>By day</h2>
{_table("Day", [days, total])}
<h2>By channel</h2>
{_table("Channel", [period.channels])}
<h2>By agent</h2>
{_table("Agent", [period.agents])}
<h2>Definitions</h2>
<dl>
{definitions}
</dl>
</body>
</html>
"""


def _table(heading: str, frames: Sequence[pd.DataFrame]) -> str:
    head = _row("th", [heading, *(measure.title for measure in MEASURES)])
    rows = [
        _row("td", [row["label"], *(written(measure, row[measure.name]) for measure in MEASURES)])
        for frame in frames
        for row in frame.to_dict("records")
    ]
    return f"<div><table>\n{head}\n{chr(10).join(rows)}\n</table></div>"


def _row(cell: str, texts: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{cell}>{escape(text)}</{cell}>' for text in texts)}</tr>"
