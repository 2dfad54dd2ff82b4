"""`make demo`: materialize the last days of the account in the environment, print tables and further commands."""

import sys
from datetime import UTC, datetime, timedelta

import dagster as dg

from gorgias_assets.commands.backfill import backfill
from gorgias_assets.days import newest_materializations
from gorgias_assets.definitions import accounts, defs
from gorgias_assets.metrics.declared import OVERVIEW
from gorgias_assets.sandbox.__main__ import SCHEMA

DAYS = 7
QUESTION = f"""\
SELECT channel, COUNT(*) AS tickets, COUNT(CASE WHEN status = 'closed' THEN 1 END) AS closed,
       COUNT(CASE WHEN tag.ticket_id IS NOT NULL THEN 1 END) AS answered_by_ai, ROUND(AVG(score), 2) AS satisfaction
FROM {SCHEMA}.tickets_live AS ticket
LEFT JOIN {SCHEMA}.ticket_tags AS tag ON tag.ticket_id = ticket.id AND tag.tag_name = 'ai_answered'
LEFT JOIN {SCHEMA}.satisfaction_surveys AS survey ON survey.ticket_id = ticket.id
GROUP BY channel ORDER BY tickets DESC"""


def main() -> int:
    """Return the exit status. The run is in the history of `DAGSTER_HOME`."""
    (account,) = accounts.values()
    today = datetime.now(UTC).date()
    last = today - timedelta(days=1)
    if failed := backfill(account, today - timedelta(days=DAYS), last):
        return failed
    warehouse = (defs.resources or {})[account.io_manager_key].warehouse()
    answer = warehouse.query(SCHEMA, QUESTION).to_pandas()
    print(f"\n{QUESTION}\n\n{answer.to_string(index=False, na_rep='-')}\n")
    with dg.DagsterInstance.get() as instance:
        drawn = newest_materializations(instance, account.key_of(OVERVIEW), [str(last)])[str(last)]
    print(f"The overview of these days: {drawn['report'].value}\n")
    print(
        f"The tables are in {warehouse}, schema {SCHEMA}. Further commands:\n"
        "  make status   which days are there, and how many rows\n"
        "  make dev      the Dagster UI on the simulated account: this run and its checks; materialize more days\n"
        "  GORGIAS_URI='gorgias://<domain>?api_key=<api-key>&email=<email>' make dev      the same on your own"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
