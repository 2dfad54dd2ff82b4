"""The commands at a terminal, as an alternative to Dagster's UI; `python -m gorgias_assets` runs them."""
