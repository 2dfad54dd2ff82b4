"""The picture: what support did each day, measured as Gorgias measures it, as a table, a chart and a report."""
