"""The declared entities. Adding one is one declaration in a module of this folder."""

from collections.abc import Iterable
from typing import Any

from gorgias_assets.entities import customers, surveys, tickets
from gorgias_assets.entities.customers import CUSTOMERS
from gorgias_assets.entities.model import Entity
from gorgias_assets.entities.surveys import SATISFACTION_SURVEYS
from gorgias_assets.entities.tickets import TICKET_MESSAGES, TICKETS

__all__ = ["CUSTOMERS", "ENTITIES", "SATISFACTION_SURVEYS", "TICKETS", "TICKET_MESSAGES", "entities_named"]

_FAMILIES = (customers, tickets, surveys)
_DECLARED = [value for family in _FAMILIES for value in vars(family).values()]

ENTITIES: tuple[Entity[Any], ...] = tuple(value for value in _DECLARED if isinstance(value, Entity))


def entities_named(entities: Iterable[Entity[Any] | str]) -> list[Entity[Any]]:
    """Return declared entities for names; entities that are given stay. Raises ValueError."""
    declared = {entity.name: entity for entity in ENTITIES}
    for one in entities:
        if isinstance(one, str) and one not in declared:
            raise ValueError(f"There is no entity {one}; there are {', '.join(declared)}.")
    return [declared[one] if isinstance(one, str) else one for one in entities]
