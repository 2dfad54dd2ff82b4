"""Draw the README's picture of the overview: four weeks of a shop, as a PNG file."""

import argparse
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.brand import Brand
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets_tests.conftest import FIRST_DAY, Project
from gorgias_assets_tests.overview.test_overview import metadata_of, overview, png_of

LAST_DAY = "2025-03-30"


def drawn(folder: Path, last: str) -> dict[str, Any]:
    """Materialize a shop's days into files of the folder, and return the metadata of the overview of the last one."""
    account = Account(now=datetime(2025, 2, 15, tzinfo=UTC))
    now = datetime.combine(date.fromisoformat(last) + timedelta(days=2), datetime.min.time(), UTC)
    Brand(account, seed=2).live(until=now)
    with Sandbox(account) as sandbox:
        project = Project(sandbox, folder / "warehouse.duckdb")
        project.materialize(FIRST_DAY, last)
        return metadata_of(overview(project, folder, FIRST_DAY, last), last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    file: Path = parser.parse_args().file
    with tempfile.TemporaryDirectory() as folder:
        file.write_bytes(png_of(drawn(Path(folder), LAST_DAY)["picture"]))


if __name__ == "__main__":
    main()
