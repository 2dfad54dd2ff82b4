"""The jobs of an account, and requests for their runs."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from gorgias_assets.account import Account
from gorgias_assets.assets import SweepConfig
from gorgias_assets.partitions import tags_of_days


def gorgias_job(account: Account) -> Any:
    return dg.define_asset_job(
        account.name,
        selection=account.selection,
        description="Read days of all entities, and whole lists.",
    )


def full_sweep_job(account: Account) -> Any:
    return dg.define_asset_job(
        account.named("full_sweep"),
        selection=account.selection,
        config=dg.RunConfig(ops={account.op_of(entity): SweepConfig(full=True) for entity in account.by_date}),
        description="Read the whole account: repair what Gorgias does not show as a change, and find deleted rows.",
    )


def freshness_job(account: Account, check_keys: Sequence[dg.AssetCheckKey]) -> Any:
    return dg.define_asset_job(
        account.named("freshness"),
        selection=dg.AssetSelection.checks(*check_keys),
        executor_def=dg.in_process_executor,  # a look at events is not worth a process each
        description="Check that the newest day that is due was read, even if no run was started. Calls no API.",
    )


def request_of(account: Account, first: str, last: str, **fields: Any) -> dg.RunRequest:
    """Return a request for one run of the partitions from `first` to `last`, if the account has partitions."""
    if not account.by_date:
        return dg.RunRequest(**fields)
    if first == last:
        return dg.RunRequest(partition_key=first, **fields)
    return dg.RunRequest(tags=fields.pop("tags", {}) | tags_of_days(first, last), **fields)
