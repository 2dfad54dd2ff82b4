"""Gorgias's own statistics: its numbers of each day and of each ticket, and how ours differ from them."""
