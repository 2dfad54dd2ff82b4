"""From a window of a list to typed batches."""
