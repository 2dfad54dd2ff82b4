"""The declared entities. Adding one is one declaration in a module of this folder."""

from typing import Any

from gorgias_assets.entities import customers, surveys, tickets
from gorgias_assets.entities.customers import CUSTOMERS
from gorgias_assets.entities.model import Entity
from gorgias_assets.entities.surveys import SATISFACTION_SURVEYS
from gorgias_assets.entities.tickets import TICKET_MESSAGES, TICKETS

__all__ = ["CUSTOMERS", "ENTITIES", "SATISFACTION_SURVEYS", "TICKETS", "TICKET_MESSAGES"]

_FAMILIES = (customers, tickets, surveys)
_DECLARED = [value for family in _FAMILIES for value in vars(family).values()]

ENTITIES: tuple[Entity[Any], ...] = tuple(value for value in _DECLARED if isinstance(value, Entity))
