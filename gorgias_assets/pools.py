"""The pools that steps run in: an instance bounds how many of each run at once, over all runs (deploy/dagster.yaml)."""

API_POOL = "gorgias_api"  # steps that call Gorgias
WAREHOUSE_POOL = "gorgias_warehouse"  # steps that only work on the database
