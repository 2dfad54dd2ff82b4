"""Tables in a database, in SQL. Nothing here knows Dagster or Gorgias."""
