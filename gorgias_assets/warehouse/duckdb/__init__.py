"""The engine DuckDB."""
