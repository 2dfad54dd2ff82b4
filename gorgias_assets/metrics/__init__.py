"""The numbers that a support lead trusts, by ticket and by day, made of the entities' tables."""
