"""Asset checks: queries, judgements, and the steps in which Dagster runs them."""
