"""A brand that lives on every channel, with everything that an account can hold.

It is made of departments, each of which brings what it works with and plans what happens to it. A `shop.Shop` is small
beside it: a mailbox and six agents.
"""

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.departments.calls import Calls
from gorgias_assets.sandbox.departments.channels import Integrations
from gorgias_assets.sandbox.departments.custom_fields import CustomFields
from gorgias_assets.sandbox.departments.desk import Desk
from gorgias_assets.sandbox.departments.jobs import Jobs
from gorgias_assets.sandbox.departments.macros import Macros
from gorgias_assets.sandbox.departments.people import Customers
from gorgias_assets.sandbox.departments.rules import Rules
from gorgias_assets.sandbox.departments.settings import Settings
from gorgias_assets.sandbox.departments.staff import Staff
from gorgias_assets.sandbox.departments.tags import Tags
from gorgias_assets.sandbox.departments.tickets import Tickets
from gorgias_assets.sandbox.departments.upkeep import Upkeep
from gorgias_assets.sandbox.life import Life
from gorgias_assets.sandbox.reference import seed_reference

CALLS_PER_TICKET, CHORES_PER_TICKET = 0.15, 0.12


class Brand(Life):
    """A brand that opens with an account of some years, staff and what they set up; all else comes with `live`."""

    def __init__(self, account: Account, seed: int = 1, tickets_per_day: float = 40) -> None:
        super().__init__(account, seed)
        seed_reference(account)
        self.integrations, self.tags, self.custom_fields = Integrations(self), Tags(self), CustomFields(self)
        self.macros, self.staff = Macros(self), Staff(self)
        self.customers = Customers(self, self.custom_fields)
        self.tickets = Tickets(self, self.staff, self.tags, self.custom_fields, self.integrations)
        self.rules = Rules(self, self.tickets)
        self.desk = Desk(self, self.staff, self.customers, self.tickets, self.macros, self.rules)
        self.calls = Calls(self, self.staff, self.customers, self.tickets, self.desk)
        self.jobs, self.settings = Jobs(self, self.staff, self.tickets, self.desk), Settings(self, self.staff)
        self.upkeep = Upkeep(self, self.staff, self.customers, self.tickets, self.desk)
        self.desk.open(tickets_per_day)
        self.calls.open(tickets_per_day * CALLS_PER_TICKET)
        self.upkeep.open(tickets_per_day * CHORES_PER_TICKET)
