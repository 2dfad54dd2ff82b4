"""`make demo`: materialize the last days of the account in the environment, print tables and further commands."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from gorgias_assets.commands.backfill import print_tables
from gorgias_assets.definitions import account, defs
from gorgias_assets.sandbox.__main__ import SCHEMA

DAYS = 7
QUESTION = f"""\
SELECT CAST(tickets.created_datetime AS DATE) AS day, COUNT(*) AS tickets,
       SUM(CASE WHEN status = 'closed' THEN 1 ELSE 0 END) AS closed,
       ROUND(AVG(score), 2) AS satisfaction
FROM {SCHEMA}.tickets
LEFT JOIN {SCHEMA}.satisfaction_surveys AS survey ON survey.ticket_id = tickets.id
GROUP BY day ORDER BY day DESC LIMIT 7"""


def main() -> None:
    today = datetime.now(UTC).date()
    first, last = ((today - timedelta(days=days)).isoformat() for days in (DAYS, 1))
    print(f"Materializing {first} to {last} in one run …", flush=True)
    result = materialize(first, last)
    print_tables(account, result)
    warehouse = (defs.resources or {})["io_manager"].warehouse()
    answer = warehouse.query(SCHEMA, QUESTION).to_pandas()
    print(f"\n{QUESTION}\n\n{answer.to_string(index=False, na_rep='-')}\n")
    *_, drawn = result.asset_materializations_for_node("gorgias__overview")
    print(f"The overview of these days: {drawn.metadata['report'].value}\n")
    print(
        f"The tables are in {warehouse}, schema {SCHEMA}. Further commands:\n"
        "  make dev      the Dagster UI on the simulated account: materialize, backfill, look at the assets\n"
        "  GORGIAS_URI='gorgias://<domain>?api_key=<api-key>&email=<email>' make dev      the same on your own"
    )


def materialize(first: str, last: str) -> dg.ExecuteInProcessResult:
    """Run the job `gorgias` for a range of days in this process, without a trace in Dagster's history."""
    with dg.DagsterInstance.ephemeral() as instance:
        return defs.resolve_job_def("gorgias").execute_in_process(
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": "WARNING"}}}},
            tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
        )


if __name__ == "__main__":
    main()
