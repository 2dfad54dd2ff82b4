"""The version of the package; its metadata are made from this line."""

__version__ = "0.1.0"
