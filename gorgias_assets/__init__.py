"""Gorgias to a warehouse, one day at a time: Dagster assets of customers, tickets, ticket messages and surveys."""
