"""The walls of the warehouse: it knows neither Dagster nor Gorgias, and an engine is known by its IO manager alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import gorgias_assets

PACKAGE = Path(gorgias_assets.__file__).parent
WAREHOUSE = PACKAGE / "warehouse"
ENGINES = [folder.name for folder in WAREHOUSE.iterdir() if (folder / "warehouse.py").exists()]
OURS = ("gorgias_assets.warehouse.", "gorgias_assets.columns", "gorgias_assets.windows")


def imported(file: Path) -> Iterator[str]:
    """Yield the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("file", [*WAREHOUSE.rglob("*.py")], ids=lambda file: str(file.relative_to(WAREHOUSE)))
def test_a_module_of_the_warehouse_knows_neither_dagster_nor_gorgias(file):
    modules = list(imported(file))
    assert [name for name in modules if name.startswith("gorgias_assets") and not name.startswith(OURS)] == []
    assert [name for name in modules if name.startswith("dagster")] == []
    assert "gorgias" not in file.read_text().lower().replace("gorgias_assets", "")


def test_an_engine_is_a_folder_an_io_manager_and_one_line():
    assert sorted(ENGINES) == ["bigquery", "duckdb"]
    users = {
        (engine, str(file.relative_to(PACKAGE)))
        for file in PACKAGE.rglob("*.py")
        for engine in ENGINES
        if WAREHOUSE / engine not in file.parents
        and any(name.startswith(f"gorgias_assets.warehouse.{engine}.") for name in imported(file))
    }
    shell = ("duckdb", "commands/shell.py")  # DuckDB's own shell, on a copy of the file
    assert users == {(engine, f"io_managers/{engine}.py") for engine in ENGINES} | {shell}
    lines = (PACKAGE / "io_managers" / "from_uri.py").read_text().splitlines()
    for engine in ENGINES:
        assert any(f'("{engine}", ' in line for line in lines)
