"""The code location. Loading it needs no setting and does no I/O."""

from gorgias_assets.build import build_account, build_definitions
from gorgias_assets.settings import Settings

settings = Settings.from_environment()
account = build_account(settings)
defs = build_definitions(settings)
