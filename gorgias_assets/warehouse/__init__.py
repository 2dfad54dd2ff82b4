"""Tables in a database, in SQL; each engine is a folder."""
