"""The work of support by day, measured as Gorgias measures it: a table, a picture and a report."""
