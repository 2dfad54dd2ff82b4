"""The jobs of an account, and requests for their runs."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from gorgias_assets.account import Account
from gorgias_assets.assets import LoadConfig, SweepConfig
from gorgias_assets.partitions import FIRST_DAY, tags_of_older_days


def gorgias_job(account: Account) -> Any:
    return dg.define_asset_job(
        account.name,
        selection=account.selection,
        description="Read days of the daily entities, and the lists that are read whole.",
    )


def full_sweep_job(account: Account) -> Any:
    return dg.define_asset_job(
        account.named("full_sweep"),
        selection=account.selection,
        config=dg.RunConfig(ops=_full_sweep(account)),
        description="Read the whole account: repair what Gorgias does not show as a change, find deleted rows, and "
        "rewrite what was stored under another privacy policy.",
    )


def _full_sweep(account: Account) -> dict[str, Any]:
    """Return the configuration of a full sweep's steps."""
    return {
        **{account.op_of(entity): LoadConfig(rewrite=True) for entity in account.entities},
        **{account.op_of(entity): SweepConfig(full=True, rewrite=True) for entity in account.by_date},
    }


def freshness_job(account: Account, check_keys: Sequence[dg.AssetCheckKey]) -> Any:
    return dg.define_asset_job(
        account.named("freshness"),
        selection=dg.AssetSelection.checks(*check_keys),
        executor_def=dg.in_process_executor,  # a look at events is not worth a process each
        description="Check that the newest day that is due was read, even if no run was started. Calls no API.",
    )


def request_of(account: Account, first: str, last: str, older: str = FIRST_DAY, **fields: Any) -> dg.RunRequest:
    """Return a request for one run of the partitions from `first` to `last`, if the account has daily entities.

    `older` is the tag that names the first day: the run reads the days before `last`, and records them or not.
    """
    if not account.daily:
        return dg.RunRequest(**fields)
    tags = fields.pop("tags", {}) | tags_of_older_days(first, last, older)
    return dg.RunRequest(partition_key=last, tags=tags, **fields)
