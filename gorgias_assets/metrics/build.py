"""The assets of metrics that an account has."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import dagster as dg

from gorgias_assets.account import Account
from gorgias_assets.metrics.asset import build_ticket_metrics
from gorgias_assets.metrics.backlog import build_ticket_backlog
from gorgias_assets.metrics.declared import TICKET_BACKLOG, TICKET_METRICS
from gorgias_assets.metrics.model import Metric


def build_metrics(
    account: Account,
    *,
    holidays: Collection[str] = (),
    fields: Sequence[str] = (),
    retry_policy: dg.RetryPolicy | None = None,
) -> list[dg.AssetsDefinition]:
    """Return an asset for each of the account's `metrics`, downstream of the entities that it is made of.

    - `holidays`: days without business hours: dates, or `MM-DD` for a day of every year.
    - `fields`: ids or labels of custom fields of tickets; each has a column in `ticket_metrics`.

    The assets read through the IO manager under `account.io_manager_key`, which has to be one of this project's.
    """
    builders: Mapping[Metric, Callable[..., dg.AssetsDefinition]] = {
        TICKET_METRICS: partial(build_ticket_metrics, holidays=holidays, fields=fields),
        TICKET_BACKLOG: build_ticket_backlog,
    }
    return [builders[metric](account, retry_policy=retry_policy) for metric in account.metrics]
