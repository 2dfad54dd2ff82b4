"""The imports that each module may have: rules of the layout, which one line can break."""

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

import gorgias_assets

ROOT = Path(gorgias_assets.__file__).parent
HTTP = ("requests", "urllib3", "http.client", "http.server", "urllib.request", "socket")
NAMES_FOR_ALL = ("requests.exceptions", "urllib.parse")  # errors and texts; nothing is sent by them
WITHOUT_DAGSTER = ("loading", "sweeps", "api", "warehouse")


def is_in(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def name_of(file: Path) -> str:
    """Return the module's name within the package, such as `api.client`; empty for the package itself."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip(".")


SOURCES = {name_of(file): file.read_text() for file in sorted(ROOT.rglob("*.py"))}


def imports(module: str) -> Iterator[str]:
    """Yield the full name of everything that a module imports, on its top or in a function."""
    for node in ast.walk(ast.parse(SOURCES[module])):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


IMPORTS = {module: set(imports(module)) for module in SOURCES}


def offences(modules: Iterator[str], packages: tuple[str, ...], allowed: tuple[str, ...] = ()) -> list[str]:
    return [
        f"{module} imports {name}"
        for module in modules
        for name in sorted(IMPORTS[module])
        if is_in(name, *packages) and not is_in(name, *allowed)
    ]


def test_the_modules_are_read() -> None:
    assert "api.client" in SOURCES
    assert "requests" in IMPORTS["api.client"]
    assert "gorgias_assets.api.budget.Budget" in IMPORTS["api.client"]


def test_only_the_api_and_the_sandbox_speak_http() -> None:
    elsewhere = (module for module in SOURCES if not is_in(module, "api", "sandbox"))
    assert offences(elsewhere, HTTP, NAMES_FOR_ALL) == []


def test_the_warehouse_knows_neither_dagster_nor_gorgias() -> None:
    of_ours = tuple(f"gorgias_assets.{name}" for name in ("warehouse", "columns", "display", "windows"))
    modules = [module for module in SOURCES if is_in(module, "warehouse")]
    assert offences(iter(modules), ("gorgias_assets",), of_ours) == []
    mentions = [
        f"{module}: {line.strip()}"
        for module in modules
        for line in SOURCES[module].splitlines()
        if re.search("gorgias", line.replace("gorgias_assets", ""), re.IGNORECASE)
    ]
    assert mentions == []


def test_what_reads_and_what_merges_knows_no_dagster() -> None:
    dagster = tuple({name.split(".")[0] for names in IMPORTS.values() for name in names if name.startswith("dagster")})
    assert "dagster" in dagster
    modules = (module for module in SOURCES if is_in(module, *WITHOUT_DAGSTER))
    assert offences(modules, dagster) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    full_names = {f"gorgias_assets.{module}": module for module in SOURCES}
    graph = {
        module: {
            full_names[found]
            for name in names
            for found in (name, name.rpartition(".")[0])
            if found in full_names and full_names[found] != module
        }
        for module, names in IMPORTS.items()
    }
    assert "api.client" in graph["resources"]
    assert tuple(graphlib.TopologicalSorter(graph).static_order())


def test_only_the_wiring_and_the_command_line_read_the_list_of_all_entities() -> None:
    lists = {"gorgias_assets.entities.CORE", "gorgias_assets.entities.ENTITIES"}
    readers = [module for module, names in IMPORTS.items() if names & lists]
    assert readers == ["", "__main__", "component", "selection"]  # the first exports it


def test_an_engine_is_a_folder_an_io_manager_and_one_line() -> None:
    engines = {module.split(".")[1] for module in SOURCES if re.fullmatch(r"warehouse\.\w+\.warehouse", module)}
    assert engines == {"bigquery", "duckdb"}
    for engine in engines:
        users = {
            module
            for module, names in IMPORTS.items()
            if not is_in(module, f"warehouse.{engine}")
            and any(is_in(name, f"gorgias_assets.warehouse.{engine}") for name in names)
        }
        shell = {"commands.shell"} if engine == "duckdb" else set()  # DuckDB's own shell, on a copy of the file
        assert users == {f"io_managers.{engine}"} | shell
        assert f'("{engine}", ' in SOURCES["io_managers.from_uri"]
