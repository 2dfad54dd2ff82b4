"""Draw the README's picture of the overview: four weeks of a shop, as a PNG file."""

import argparse
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.brand import Brand
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets_tests.conftest import FIRST_DAY, Project
from gorgias_assets_tests.overview.test_overview import metadata_of, overview, png_of

LAST_DAY = "2025-03-30"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    file: Path = parser.parse_args().file
    account = Account(now=datetime(2025, 2, 15, tzinfo=UTC))
    Brand(account, seed=2).live(until=datetime(2025, 4, 1, tzinfo=UTC))
    with Sandbox(account) as sandbox, tempfile.TemporaryDirectory() as folder:
        project = Project(sandbox, Path(folder) / "warehouse.duckdb")
        project.materialize(FIRST_DAY, LAST_DAY)
        result = overview(project, Path(folder), FIRST_DAY, LAST_DAY)
    file.write_bytes(png_of(metadata_of(result, LAST_DAY)["picture"]))


if __name__ == "__main__":
    main()
