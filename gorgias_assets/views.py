"""The views as assets with nothing to run: each hangs from the assets whose tables it reads."""

import dagster as dg

from gorgias_assets.account import Account
from gorgias_assets.declared import GORGIAS, of_view
from gorgias_assets.entities.view import View

VIEW = "view"


def view_specs(account: Account) -> list[dg.AssetSpec]:
    """Return a specification for each view of the account. Loading a table that one reads keeps it as declared."""
    keys = {entity.name: account.key_of(entity) for entity in account.entities}
    return [_spec(account, view, [keys[name] for name in view.reads]) for view in account.views]


def _spec(account: Account, view: View, reads: list[dg.AssetKey]) -> dg.AssetSpec:
    place = account.place
    spec = account.spec_of(
        view.name,
        deps=reads,
        description=_description(view),
        kinds={GORGIAS, VIEW, place.storage} if place else {GORGIAS, VIEW},
        metadata=of_view(view, str(account.table_of(view.name, place)), place.storage) if place else of_view(view),
    )
    return spec.with_io_manager_key(account.io_manager_key)  # by which other assets load it


def _description(view: View) -> str:
    first, *others = view.reads
    joined = f", with what `{others[0]}` says of the values" if others else ""
    return f"{view.grain}\n\nA view of the rows of `{first}` that are not gone{joined}."
