"""The code location: everything in `defs`. Loading it needs no setting, and reads nothing but the files there.

A setting that cannot be used ends it with ValueError, in one sentence.
"""

import warnings
from pathlib import Path

import dagster as dg
from dagster.components.core.component_tree import ComponentTreeException

from gorgias_assets import defs as folder
from gorgias_assets.account import Account
from gorgias_assets.component import GorgiasComponent
from gorgias_assets.executors import executor_named
from gorgias_assets.settings import Settings

for category in (dg.BetaWarning, dg.PreviewWarning):  # of Dagster's own, about parts of itself
    warnings.filterwarnings("ignore", category=category, module="dagster")


def _load() -> tuple[dg.Definitions, dict[str, Account]]:
    tree = dg.ComponentTree.from_module(defs_module=folder, project_root=Path(__file__).parents[1])
    try:
        made = tree.build_defs(tree.defs_module_path)  # of the root, it would import every package that has components
        accounts = {one.name: one.account for one in tree.get_all_components(of_type=GorgiasComponent)}
    except ComponentTreeException as error:
        raise _reason(error) from None
    executor = executor_named(Settings.from_environment().executor)
    return dg.Definitions.merge(made, dg.Definitions(executor=executor)), accounts


def _reason(error: BaseException) -> BaseException:
    """Return the error that a component was refused with, if it is a sentence for people."""
    cause = error
    while cause.__cause__:
        cause = cause.__cause__
    return cause if isinstance(cause, ValueError) else error


defs, accounts = _load()
