"""The code location. Loading it needs no setting and does no I/O."""

from gorgias_assets.build import build_definitions
from gorgias_assets.settings import Settings

defs = build_definitions(Settings.from_environment())
