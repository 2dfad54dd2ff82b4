"""The numbers that a support lead trusts: one row per ticket, made of the entities' tables."""
