"""The choice of what an account has: all entities, views and metrics, the core, or some of them by name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gorgias_assets.entities import CORE, ENTITIES, VIEWS
from gorgias_assets.entities.model import Entity
from gorgias_assets.entities.view import View
from gorgias_assets.metrics.declared import METRICS
from gorgias_assets.metrics.model import Metric
from gorgias_assets.privacy.policy import PrivacyError
from gorgias_assets.statistics.scopes import NAMES, NEEDS

ALL, ONLY_CORE = "all", "core"  # words for several

_DECLARED: tuple[Entity[Any] | View | Metric, ...] = (*ENTITIES, *VIEWS, *METRICS)
_WORDS: Mapping[str, Sequence[Entity[Any] | View | Metric]] = {
    ALL: _DECLARED,
    ONLY_CORE: (*CORE, *METRICS),
    **{one.name: (one,) for one in _DECLARED},
    **dict.fromkeys(NAMES, ()),
}


def chosen(words: Iterable[Any]) -> tuple[list[Entity[Any]], list[View], list[Metric]]:
    """Return the entities, views and metrics that names, words for several, and declarations stand for, each one once.

    Raises ValueError, with one sentence, on a name that nothing has, and on a view or metrics of what is not chosen.
    """
    entities, views, metrics = dict[str, Entity[Any]](), dict[str, View](), dict[str, Metric]()
    for word in words:
        if isinstance(word, str) and word not in _WORDS:
            raise ValueError(f"There is no entity or view {word}; there are {', '.join(_WORDS)}.")
        for one in _WORDS[word] if isinstance(word, str) else (word,):
            if isinstance(one, Entity):
                entities[one.name] = one
            elif isinstance(one, Metric):
                metrics[one.name] = one
            else:
                views[one.name] = one
    for view in views.values():
        if missing := [name for name in view.reads if name not in entities]:
            raise ValueError(f"The view {view.name} is made of {', '.join(missing)}: choose that as well, or neither.")
    for metric in metrics.values():
        if missing := [name for name in metric.needs if name not in {*entities, *metrics}]:
            raise ValueError(f"{metric.name} is made of {', '.join(missing)}: choose that as well, or neither.")
    return list(entities.values()), list(views.values()), list(metrics.values())


def check_exceptions(privacy: Iterable[str], entities: Iterable[Entity[Any]]) -> None:
    """Raise `PrivacyError` if an exception of a privacy policy names a column that none of the entities has."""
    columns = {f"{entity.name}.{column.name}" for entity in (*ENTITIES, *entities) for column in entity.columns}
    if unknown := next((what for what in privacy if "." in what and what not in columns), None):
        raise PrivacyError(f"privacy names {unknown}, and there is no such column; docs/tables.md has them.")


def chosen_statistics(words: Iterable[Any], made: Iterable[Entity[Any] | Metric]) -> list[str]:
    """Return the assets of Gorgias's own statistics that are named, each one once: `all` includes none of them.

    Raises ValueError, with one sentence, if a table to compare them with is not chosen.
    """
    there = {one.name for one in made}
    named = list(dict.fromkeys(word for word in words if isinstance(word, str) and word in NAMES))
    for name in named:
        if missing := [need for need in NEEDS[name] if need not in there]:
            raise ValueError(f"{name} is compared with {', '.join(missing)}: choose that as well, or neither.")
    return named
