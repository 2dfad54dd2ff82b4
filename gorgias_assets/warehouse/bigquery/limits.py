"""Google's limits of a statement and a job, and the shares of them that are used.

Values are literals in a statement, never parameters, of which BigQuery takes 10,000. Limits are of
cloud.google.com/bigquery/quotas.
"""

from gorgias_assets.warehouse.tables import WarehouseError

STATEMENT_BYTES = 2**20  # of a statement before views are resolved: #query_jobs
PARTITIONS_OF_A_JOB = 4_000  # that one load or statement may change: #partitioned_tables

_LONGEST_ID = len(", -9223372036854775808")
_LONGEST_ROW = 150  # characters of an id, two moments and another id as literals

# A statement names a list of ids three times at most, and has a quarter of its length left for everything else.
IDS_OF_A_STATEMENT = STATEMENT_BYTES // 4 // _LONGEST_ID
ROWS_OF_A_STATEMENT = STATEMENT_BYTES // 2 // _LONGEST_ROW


def check_statement(statement: str) -> None:
    """Raise `WarehouseError` if BigQuery would refuse the statement for its length."""
    length = len(statement.encode())
    if length > STATEMENT_BYTES:
        raise WarehouseError(
            f"A statement of {length:,} bytes would be longer than the {STATEMENT_BYTES:,} that BigQuery allows; "
            "materialize or load fewer partitions at once."
        )
