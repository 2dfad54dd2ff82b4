"""A brand that lives on every channel, with everything that an account can hold.

It is made of departments, each of which brings what it works with and plans what happens to it. A `shop.Shop` is small
beside it: a mailbox and six agents.
"""

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.calls import Calls
from gorgias_assets.sandbox.channels import Integrations
from gorgias_assets.sandbox.desk import Desk
from gorgias_assets.sandbox.fields import Fields
from gorgias_assets.sandbox.labels import Labels
from gorgias_assets.sandbox.life import Life
from gorgias_assets.sandbox.macros import Macros
from gorgias_assets.sandbox.people import Customers
from gorgias_assets.sandbox.reference import seed_reference
from gorgias_assets.sandbox.rules import Rules
from gorgias_assets.sandbox.staff import Staff
from gorgias_assets.sandbox.tickets import Tickets
from gorgias_assets.sandbox.upkeep import Upkeep

CALLS_PER_TICKET = 0.15


class Brand(Life):
    """A brand that opens with an account of some years, staff and what they set up; all else comes with `live`."""

    def __init__(self, account: Account, seed: int = 1, tickets_per_day: float = 40) -> None:
        super().__init__(account, seed)
        seed_reference(account)
        self.integrations, self.labels, self.fields = Integrations(self), Labels(self), Fields(self)
        self.staff, self.macros = Staff(self), Macros(self)
        self.customers = Customers(self, self.fields)
        self.tickets = Tickets(self, self.staff, self.labels, self.fields, self.integrations)
        self.rules = Rules(self, self.tickets)
        self.desk = Desk(self, self.staff, self.customers, self.tickets, self.macros, self.rules)
        self.calls = Calls(self, self.staff, self.customers, self.tickets, self.desk)
        self.upkeep = Upkeep(self, self.staff, self.customers, self.tickets, self.desk, tickets_per_day)
        self.desk.open(tickets_per_day)
        self.calls.open(tickets_per_day * CALLS_PER_TICKET)
