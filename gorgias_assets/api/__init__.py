"""Gorgias over HTTP: the only modules that send requests."""
