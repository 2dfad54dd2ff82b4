"""The commands at a terminal, as an alternative to Dagster's UI; `gorgias-assets` runs them."""
