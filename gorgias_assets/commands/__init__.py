"""What is done at a terminal rather than in Dagster's UI; `python -m gorgias_assets` runs it."""
