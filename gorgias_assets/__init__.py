"""Gorgias to a warehouse, one day at a time: Dagster assets for a helpdesk's customers, tickets, messages and surveys."""
