"""The declared entities: adding one is one declaration in a module of this folder, and its name here."""

from gorgias_assets.entities.customers import CUSTOMERS
from gorgias_assets.entities.model import ByDate, Entity
from gorgias_assets.entities.surveys import SATISFACTION_SURVEYS
from gorgias_assets.entities.tickets import TICKET_MESSAGES, TICKETS

ENTITIES: tuple[Entity[ByDate], ...] = (CUSTOMERS, TICKETS, TICKET_MESSAGES, SATISFACTION_SURVEYS)
