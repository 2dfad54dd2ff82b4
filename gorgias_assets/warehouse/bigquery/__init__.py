"""The engine BigQuery."""
