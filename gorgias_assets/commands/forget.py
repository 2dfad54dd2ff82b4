"""Forgetting a person: what is stored of them is shown, and erased once somebody agrees.

The order makes it safe to kill: the list of forgotten people first, so that nothing is stored again; then reports,
while their names are known; then rows, and the file's bytes; the protocol last. The same command goes on from any
point.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import click
import dagster as dg
from upath import UPath

from gorgias_assets.account import Account
from gorgias_assets.privacy.erasing import Finder, Person
from gorgias_assets.privacy.forgetting import ERASE, Forgotten
from gorgias_assets.privacy.policy import VARIABLE, PrivacyError, PrivacyKey
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.version import __version__
from gorgias_assets.warehouse.tables import Table, WarehouseError
from gorgias_assets.warehouse.warehouse import Warehouse

_SHORTEST_NAME = 4  # letters, below which a name is found in any text


@dataclass(frozen=True)
class Request:
    """The person to forget, by an address or an id, and what is done.

    - `action`: `erase` or `hash`.
    - `is_shown_only`: nothing is changed.
    - `agreed`: returns if somebody agrees, once they have seen what there is.
    """

    given: str
    action: str
    is_shown_only: bool
    agreed: Callable[[], bool]


def forget(request: Request, account: Account, resources: Mapping[str, Any]) -> int:
    """Show what is stored of the person, forget them if somebody agrees, and return the exit status.

    Raises `WarehouseError`, and `click.Abort` if nobody agrees.
    """
    io_manager = resources[account.io_manager_key].create_io_manager(dg.build_init_resource_context())
    warehouse: Warehouse = io_manager.warehouse.billed_to({"command": "forget"})
    key = _key(resources[account.name])
    names = [*(entity.name for entity in account.entities), *(metric.name for metric in account.metrics)]
    tables = {name: account.table_of(name, io_manager) for name in names}
    finder = Finder.of(warehouse, tables, account.entities, key)
    schema = finder.schema
    forgotten = Forgotten.of(warehouse.listed(schema), key)  # raises if that is another key
    is_pending = not warehouse.is_erased(schema)
    ours = {*tables.values(), *(account.table_of(name, io_manager) for name in account.statistics)}
    with finder.reading():
        person = finder.find(request.given, forgotten)
        rows = finder.count(person) if person else {}
    found = _Found(rows, _reports_with(person, account.reports), finder.elsewhere(person, ours) if person else {})
    _show(found, is_pending)
    if person and not rows:
        click.echo("The address is on the list already; what came since of anybody on the list is erased.")
    if not (person or is_pending):
        return 0
    if request.is_shown_only:
        click.echo("\nNothing was changed.")
        return 0
    if not request.agreed():
        raise click.Abort
    now = datetime.now(UTC)
    if person:
        warehouse.put_on_list(schema, person.entries(key, request.action), now)
    for report in found.reports:
        report.unlink()
    changed = _erase(warehouse, finder, person, is_pending, key, request.action, now)
    held = warehouse.expunge(schema)
    texts = Person(emails=person.emails, phones=person.phones, is_hashed=request.action == ERASE)
    with finder.reading():
        left = sum(finder.count(texts).values()) if texts.has_texts else 0
    protocol = {
        "forgotten_at": now.isoformat(timespec="seconds"),
        "account": account.name,
        "action": request.action,
        "person": sorted(entry.keyed_hash for entry in person.entries(key, request.action)[1:])[:1],
        "rows_found": {str(table): rows for table, rows in found.rows.items()},
        "rows_changed": {str(table): rows for table, rows in changed.items()},
        "rows_left": left,
        "reports_removed": len(found.reports),
        "rows_in_other_tables": {str(table): rows for table, rows in found.elsewhere.items()},
        "still_held": held,
        "version": __version__,
    }
    place = _write(protocol, UPath(account.reports) / f"forgotten-{now:%Y-%m-%dT%H%M%S}.json")
    if left:
        raise WarehouseError(
            f"{left:,} rows still have something of the person: a run has stored them meanwhile. Run this again once "
            "none is in progress."
        )
    warehouse.note_erased(schema, now)
    click.echo(f"\nForgotten: {sum(changed.values()):,} rows changed, {len(found.reports):,} reports removed.")
    click.echo(held or "The file was written anew: no byte of it holds what was erased.")
    click.echo(f"The protocol, which names nobody: {place}")
    return 0


@dataclass(frozen=True)
class _Found:
    rows: Mapping[Table, int]
    reports: list[UPath]
    elsewhere: Mapping[Table, int]


def _key(gorgias: GorgiasResource) -> PrivacyKey:
    try:
        key = gorgias.door().key
    except PrivacyError as error:
        raise WarehouseError(str(error)) from None
    if key is None:
        raise WarehouseError(
            f"{VARIABLE} is not set. People are remembered as forgotten by hashes that nobody can make without it; set "
            "it to 16 letters or more, such as `openssl rand -hex 32`, for this command and for every run."
        )
    return key


def _show(found: _Found, is_pending: bool) -> None:
    if is_pending:
        click.echo("A command before this one was interrupted; what it has begun is completed.")
    if not found.rows:
        click.echo("Nothing is stored of this person.")
        return
    click.echo(f"{'table':<44}{'rows':>8}")
    for table, rows in found.rows.items():
        click.echo(f"{table!s:<44}{rows:>8,}")
    if found.reports:
        click.echo(f"{'reports':<44}{len(found.reports):>8,}")
    for table, rows in found.elsewhere.items():
        click.echo(f"{table!s:<44}{rows:>8,}  not of this project: change it yourself")


def _erase(
    warehouse: Warehouse, finder: Finder, asked: Person, is_pending: bool, key: PrivacyKey, action: str, now: datetime
) -> dict[Table, int]:
    """Erase everybody on the list, with what a run has stored of them since they were put on it.

    Texts are searched for `asked` and for what is new, and for all if a command was interrupted (`is_pending`): of
    others, the door has let none in since.
    """
    schema = finder.schema
    forgotten = Forgotten.of(warehouse.listed(schema), key)
    assert forgotten, "somebody was put on it"
    with finder.reading():
        everybody = finder.listed(forgotten)
    person = everybody.known_by(forgotten, asked, is_pending)
    known = set(forgotten.actions)
    if new := [entry for entry in everybody.entries(key, action) if entry.keyed_hash not in known]:
        warehouse.put_on_list(schema, new, now)
        forgotten = Forgotten.of(warehouse.listed(schema), key)
        assert forgotten
    return finder.erase(forgotten, person)


def _reports_with(person: Person, reports: str) -> list[UPath]:
    """Return the reports with a name, an address or a number of the person."""
    names = {escape(name).casefold() for name in person.names if len(name) >= _SHORTEST_NAME}
    words = {*names, *(escape(one) for one in person.emails), *person.phones}
    folder = UPath(reports)
    if not words or not folder.exists():
        return []
    files = [*folder.rglob("*.html"), *folder.rglob(".overview-*")]  # the latter of runs that were killed
    texts = ((file, file.read_text(encoding="utf-8").casefold()) for file in sorted(files, key=str))
    return [file for file, text in texts if any(word in text for word in words)]


def _write(protocol: Mapping[str, Any], place: UPath) -> str:
    text = json.dumps(protocol, indent=2) + "\n"
    if place.protocol not in ("", "file", "local"):
        place.write_text(text, encoding="utf-8")
        return str(place)
    file = Path(place.path).absolute()
    missing = [folder for folder in file.parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as opened:
        opened.write(text)
    return str(file)
