"""The generated parts of the documents: `make docs` writes them, `test_documents.py` compares them.

In a Markdown file such a part stands between `<!-- name -->` and `<!-- /name -->`. `.env.example` is generated whole.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from gorgias_assets.account import Account
from gorgias_assets.assets import build_assets
from gorgias_assets.checks.build import build_checks
from gorgias_assets.columns import ADDED_COLUMNS, Column, Kind
from gorgias_assets.component import GorgiasComponent
from gorgias_assets.entities import CORE, ENTITIES, VIEWS
from gorgias_assets.entities.model import ByDate, ByFilter, Entity, Unordered, Whole, read_by
from gorgias_assets.metrics.ticket_backlog import COLUMNS as BACKLOG_COLUMNS
from gorgias_assets.metrics.ticket_metrics import COLUMNS as METRICS_COLUMNS
from gorgias_assets.overview import measures
from gorgias_assets.settings import Settings
from gorgias_assets.warehouse import bookkeeping
from gorgias_assets.warehouse.bigquery.session import BigQueryDialect
from gorgias_assets.warehouse.duckdb.session import DuckDBDialect

REPOSITORY = Path(__file__).parent.parent
WIDTH = 120
ENV_HEAD = """\
# Copy by `install -m 600 .env.example .env`, since it will hold a key; `make dev`, `dg` and `dagster` read it.
# Every setting but the first has a default.
# Gorgias shows the domain, the e-mail and the key under Settings, REST API.
"""


def documents() -> list[Path]:
    return [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")]


def rendered() -> Iterator[tuple[Path, str]]:
    """Yield each file that has generated parts, and the text that it has to have."""
    yield REPOSITORY / ".env.example", env_example()
    for file in documents():
        text = file.read_text()
        yield file, re.sub(r"(<!-- (\w+) -->\n).*?(<!-- /\2 -->)", _part, text, flags=re.DOTALL)


def _part(match: re.Match[str]) -> str:
    start, name, end = match.groups()
    return f"{start}{PARTS[name]()}{end}"


def table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n".replace("|  |", "| |") for line in lines)


def env_example() -> str:
    settings = [
        f"\n{textwrap.fill(meaning.replace('`', ''), WIDTH, initial_indent='# ', subsequent_indent='# ')}\n"
        f"{'#' if variable != 'GORGIAS_URI' else ''}{variable}={default}\n"
        for variable, default, meaning in Settings.documented()
    ]
    return ENV_HEAD + "".join(settings)


def settings() -> str:
    rows = [
        [f"`{variable}`", f"`{default}`" if default else "", meaning]
        for variable, default, meaning in Settings.documented()
    ]
    return table(["environment variable", "default", "meaning"], rows)


def core() -> str:
    rows = [[*_asset(entity), *_partition(entity.read), len(entity.columns)] for entity in read_by(ByDate, CORE)]
    return table(["asset", "one row", "in the partition of the day it was", "look-back", "columns"], rows)


def others() -> str:
    rows = [[*_asset(entity), entity.group, _WAYS[type(entity.read)]] for entity in ENTITIES if entity not in CORE]
    return table(["asset", "one row", "group", "read"], rows)


def _asset(entity: Entity[Any]) -> tuple[str, str]:
    return f"`gorgias/{entity.name}`", _row(entity.grain)


def _row(grain: str) -> str:
    return grain.partition(".")[0].removeprefix("One row ")


def _partition(read: ByDate) -> tuple[str, str]:
    touches = ", ".join(name.removesuffix("_datetime") for name in read.touch_fields)
    return touches, f"{read.look_back.days} days"


_WAYS = {
    ByDate: "by day, with a look-back",
    ByFilter: "by day, exactly",
    Unordered: "by day, in any order",
    Whole: "whole, in each run",
}


def relations() -> str:
    """Return a diagram of the tables, with an arrow for each column that holds the id of another's row."""
    lines = [
        f"    {entity.name} }}o--o| {target} : {column.name}"
        for entity in (*ENTITIES, *VIEWS)
        for column in entity.columns
        if (target := _target(column)) and target != entity.name
    ]
    return "\n".join(["```mermaid", "erDiagram", *lines, "```", ""])


_SHORT = {"call": "voice_calls", "message": "ticket_messages", "field": "custom_fields", "agent": "users"}


def _target(column: Column) -> str | None:
    """Return the entity whose id a column holds, by the last part of its name."""
    if column.kind is not Kind.INTEGER or not column.name.endswith("_id"):
        return None
    with_ids = [entity.name for entity in ENTITIES if not (isinstance(entity.read, Whole) and entity.read.id_from)]
    named = {name.removesuffix("s"): name for name in with_ids} | _SHORT
    noun = column.name.removesuffix("_id")
    return next((named[end] for end in (noun, noun.rpartition("_")[2]) if end in named), None)


def types() -> str:
    rows = [[kind.name.lower(), f"`{DuckDBDialect.types[kind]}`", f"`{BigQueryDialect.types[kind]}`"] for kind in Kind]
    return table(["type", "in DuckDB", "in BigQuery"], rows)


def columns() -> str:
    return "".join(f"\n### {entity.name}\n\n{entity.grain}\n\n{_columns(entity.columns)}" for entity in ENTITIES)


def own_tables() -> str:
    of_all = {bookkeeping.FORGOTTEN}  # of which a schema has one
    return "".join(
        f"\n### `{name}{'' if name in of_all else '_<table>'}`\n\n{_columns(columns)}"
        for name, columns in bookkeeping._COLUMNS.items()
    )


def views() -> str:
    rows = [
        [f"`gorgias/{view.name}`", _row(view.grain), ", ".join(f"`{name}`" for name in view.reads)] for view in VIEWS
    ]
    return table(["view", "one row", "made of"], rows)


def view_columns() -> str:
    return "".join(f"\n### {view.name}\n\n{view.grain}\n\n{_columns(view.columns)}" for view in VIEWS)


def _columns(columns: Iterable[Column]) -> str:
    rows = [[f"`{column.name}`", column.kind.name.lower(), column.description, _held(column)] for column in columns]
    if not any(held for *_, held in rows):
        return table(["column", "type", "meaning"], [row[:3] for row in rows])
    return table(["column", "type", "meaning", "holds"], rows)


def _held(column: Column) -> str:
    """Return what a column holds of a person, with the paths of JSON at which it does."""
    shown = [
        f"{kind.value}: {', '.join(f'`{path}`' for path in paths)}" if paths and paths != ["**"] else kind.value
        for kind, paths in column.paths.items()
    ]
    return "; ".join(shown)


def component() -> str:
    """Return the component's attributes; Dagster's own, which have no meaning of ours, are left to the text around."""
    attributes = GorgiasComponent.get_model_cls().model_json_schema()["properties"]
    rows = [[f"`{name}`", of["description"]] for name, of in attributes.items() if "description" in of]
    return table(["attribute", "meaning"], rows)


def checks() -> str:
    account, assets = Account(ENTITIES, has_policy=True), dict[tuple[str, ...], list[str]]()
    late = timedelta()
    for step in [*build_checks(account, late_after=late), *build_assets(account, late_after=late)]:
        for spec in step.check_specs:
            meaning, _, advice = (spec.description or "").partition("\n\n")
            assets.setdefault((spec.name, meaning, advice.partition(": ")[2]), []).append(spec.asset_key.path[-1])
    rows = [[f"`{name}`", _assets(names), meaning, advice] for (name, meaning, advice), names in assets.items()]
    return table(["check", "assets", "passes if", "if it fails"], rows)


def _assets(names: Iterable[str]) -> str:
    """Return "all", the ways of reading of which it is all, or the names."""
    account, left, ways = Account(ENTITIES), {*names}, list[str]()
    for way, entities in {
        "all": account.entities,
        "all daily ones": account.daily,
        "those read by date": account.by_date,
        "those read whole": account.whole,
    }.items():
        if left and left.issuperset(of_way := {entity.name for entity in entities}):
            ways.append(way)
            left -= of_way
    return ", ".join([*ways, *(name for name in names if name in left)])


def commands() -> str:
    targets = re.findall(r"^([a-z-]+):.*?## (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    return table(["command", "purpose"], [[f"`make {name}`", purpose] for name, purpose in targets])


PARTS = {
    "component": component,
    "settings": settings,
    "core": core,
    "others": others,
    "relations": relations,
    "views": views,
    "view_columns": view_columns,
    "types": types,
    "columns": columns,
    "added": lambda: _columns(ADDED_COLUMNS),
    "own": own_tables,
    "checks": checks,
    "measures": lambda: _columns(measures.COLUMNS),
    "backlog": lambda: _columns(BACKLOG_COLUMNS),
    "metrics": lambda: _columns(METRICS_COLUMNS),
    "commands": commands,
}


def main() -> None:
    for file, text in rendered():
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
            print(file.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
