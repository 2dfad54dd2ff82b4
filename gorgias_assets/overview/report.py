"""The picture in the metadata of a run, and the report as a file."""

import base64
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import dagster as dg
from upath import UPath

from gorgias_assets.overview.page import page_of
from gorgias_assets.overview.period import Period
from gorgias_assets.overview.picture import png_of
from gorgias_assets.overview.weeks import Weeks


def report_metadata(period: Period, weeks: Weeks, folder: str) -> dict[str, Any]:
    """Return the picture, and the report's place. If one of them cannot be made, warn: the rows matter more."""
    return _picture(period) | _report(weeks, UPath(folder) / f"overview-{weeks.days[weeks.known][-1]:%Y-%m-%d}.html")


def _picture(period: Period) -> dict[str, Any]:
    try:
        png = base64.b64encode(png_of(period)).decode()
    except ModuleNotFoundError as error:
        dg.get_dagster_logger().warning(
            f"{error.name} is not installed, so there is no picture; pip install 'gorgias-assets[overview]'."
        )
        return {}
    return {"picture": dg.MetadataValue.md(f"![Support, {period.title}](data:image/png;base64,{png})")}


def _report(weeks: Weeks, place: UPath) -> dict[str, Any]:
    try:
        return {"report": _write(page_of(weeks), place)}
    except (OSError, ImportError) as error:  # a disk that is full or read-only; a missing package for s3 and the like
        dg.get_dagster_logger().warning(
            f"The report could not be written ({type(error).__name__}); check the folder of reports."
        )
        return {}


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
