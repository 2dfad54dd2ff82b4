"""The assets and checks of Gorgias's own statistics that an account has."""

import dagster as dg

from gorgias_assets.account import Account
from gorgias_assets.statistics.agreement import build_agreement
from gorgias_assets.statistics.daily import build_statistics
from gorgias_assets.statistics.scopes import STATISTICS, TICKET_STATISTICS
from gorgias_assets.statistics.tickets import build_ticket_statistics

_BUILDERS = {STATISTICS: build_statistics, TICKET_STATISTICS: build_ticket_statistics}


def statistics_assets(account: Account, retry_policy: dg.RetryPolicy | None = None) -> list[dg.AssetsDefinition]:
    return [_BUILDERS[name](account, retry_policy=retry_policy) for name in account.statistics]


def statistics_checks(account: Account) -> list[dg.AssetChecksDefinition]:
    return [build_agreement(account)] if STATISTICS in account.statistics else []
