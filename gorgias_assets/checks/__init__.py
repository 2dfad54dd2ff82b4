"""Asset checks: what they ask, what they conclude, how Dagster runs them."""
