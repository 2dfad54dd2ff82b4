"""The chores of a brand: customers known twice, letters taken back, old tickets moved in, tickets deleted."""

import itertools
from datetime import timedelta

from gorgias_assets.sandbox import prose
from gorgias_assets.sandbox.departments.channels import EMAIL
from gorgias_assets.sandbox.departments.desk import Desk
from gorgias_assets.sandbox.departments.people import Customers
from gorgias_assets.sandbox.departments.staff import Staff
from gorgias_assets.sandbox.departments.tickets import Conversation, Tickets
from gorgias_assets.sandbox.life import Life


class Upkeep:
    """Chores, one after the other, each on something that happened not long ago."""

    def __init__(self, life: Life, staff: Staff, customers: Customers, tickets: Tickets, desk: Desk) -> None:
        self.life, self.staff, self.customers, self.tickets, self.desk = life, staff, customers, tickets, desk
        self._chores = itertools.cycle(
            (
                self._customer_moves,
                self._customers_are_merged,
                self._letter_is_rewritten,
                self._letter_is_deleted,
                self._old_ticket_moves_in,
                self._ticket_is_deleted,
            )
        )

    def open(self, chores_per_day: float) -> None:
        """Have chores done from now on."""
        self._every = timedelta(days=1 / chores_per_day)
        self.life.at(self.staff.in_hours(self.life.around(hours=6)), self._next_chore)

    def _next_chore(self) -> None:
        self.life.at(self.staff.in_hours(self.life.around(seconds=self._every.total_seconds())), self._next_chore)
        if self.desk.recent:
            next(self._chores)(self.life.random.choice(self.desk.recent))

    def _customer_moves(self, talk: Conversation) -> None:
        self.customers.moves(talk.customer)

    def _customers_are_merged(self, talk: Conversation) -> None:
        self.customers.are_merged(talk.customer, self.life.random.choice(self.customers.known))

    def _letter_is_rewritten(self, talk: Conversation) -> None:
        for message in self.life.account.where("messages", "ticket_id", talk.ticket_id)[-1:]:
            self.tickets.edit(message["id"], prose.body(message["body_text"] + "\n\n(Order number removed.)"))

    def _letter_is_deleted(self, talk: Conversation) -> None:
        for message in self.life.account.where("messages", "ticket_id", talk.ticket_id)[1:2]:
            self.life.account.delete("messages", message["id"])

    def _ticket_is_deleted(self, talk: Conversation) -> None:
        self.tickets.delete(talk, self.staff.admin)

    def _old_ticket_moves_in(self, _: Conversation) -> None:
        long_ago = self.life.now - self.life.around(days=200)
        customer, topic = self.customers.somebody("email"), self.life.random.choice(prose.TOPICS)
        dates = {"created_datetime": long_ago, "closed_datetime": long_ago}
        old = self.tickets.opened(customer, EMAIL, topic, **dates, status="closed")
        text = prose.body(self.life.random.choice(topic.openings).format_map(old.words))
        about = {"ticket_id": old.ticket_id, "sender": {"id": customer.id}, "imported": True}
        self.life.account.create("messages", **about, **text, created_datetime=long_ago, sent_datetime=long_ago)
