"""The declared entities. Adding one is one declaration in a module of this folder."""

from types import ModuleType
from typing import Any

from gorgias_assets.entities import automation, customers, events, people, sorting, surveys, tickets, voice, workspace
from gorgias_assets.entities.automation import JOBS, MACROS, RULES
from gorgias_assets.entities.customers import CUSTOMERS
from gorgias_assets.entities.events import EVENTS
from gorgias_assets.entities.model import Entity
from gorgias_assets.entities.people import TEAMS, USERS
from gorgias_assets.entities.sorting import CUSTOM_FIELDS, TAGS
from gorgias_assets.entities.surveys import SATISFACTION_SURVEYS
from gorgias_assets.entities.tickets import TICKET_MESSAGES, TICKETS
from gorgias_assets.entities.view import View
from gorgias_assets.entities.voice import VOICE_CALL_EVENTS, VOICE_CALL_RECORDINGS, VOICE_CALLS
from gorgias_assets.entities.workspace import (
    ACCOUNT,
    ACCOUNT_SETTINGS,
    INTEGRATIONS,
    METRIC_CARDS,
    SAVED_VIEWS,
    WIDGETS,
)

__all__ = [
    "ACCOUNT",
    "ACCOUNT_SETTINGS",
    "CORE",
    "CUSTOMERS",
    "CUSTOM_FIELDS",
    "ENTITIES",
    "EVENTS",
    "INTEGRATIONS",
    "JOBS",
    "MACROS",
    "METRIC_CARDS",
    "RULES",
    "SATISFACTION_SURVEYS",
    "SAVED_VIEWS",
    "TAGS",
    "TEAMS",
    "TICKETS",
    "TICKET_MESSAGES",
    "USERS",
    "VIEWS",
    "VOICE_CALLS",
    "VOICE_CALL_EVENTS",
    "VOICE_CALL_RECORDINGS",
    "WIDGETS",
]


def _declared(*families: ModuleType) -> tuple[Entity[Any], ...]:
    values = (value for family in families for value in vars(family).values())
    return tuple(value for value in values if isinstance(value, Entity))


def _views(*families: ModuleType) -> tuple[View, ...]:
    values = (value for family in families for value in vars(family).values())
    return tuple(value for value in values if isinstance(value, View))


CORE = _declared(customers, tickets, surveys)
ENTITIES = (*CORE, *_declared(events, people, sorting, automation, workspace, voice))
VIEWS = _views(customers, tickets, surveys, events, people, sorting, automation, workspace, voice)
