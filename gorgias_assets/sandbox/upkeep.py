"""The chores of a brand: customers known twice, letters taken back, old tickets moved in, spam thrown out in bulk."""

import itertools
from collections.abc import Mapping
from datetime import timedelta

from gorgias_assets.sandbox import prose
from gorgias_assets.sandbox.channels import EMAIL
from gorgias_assets.sandbox.desk import Desk
from gorgias_assets.sandbox.life import Life
from gorgias_assets.sandbox.objects import FIRST_VIEW
from gorgias_assets.sandbox.people import Customers
from gorgias_assets.sandbox.staff import Staff
from gorgias_assets.sandbox.tickets import Conversation, Tickets

CLEARED_EVERY = timedelta(days=1)
BULK, KEPT = 8, 3
"""How many tickets are tagged at once; how many that are spam stay when the others are deleted."""


class Upkeep:
    """Chores, each at its time, and the jobs that do something to many tickets at once."""

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
        self.life.at(self.staff.in_hours(CLEARED_EVERY), self._is_cleared)

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
        if self.tickets.is_there(talk):
            with self.life.account.acting(self.staff.admin):
                self.life.account.delete("tickets", talk.ticket_id)

    def _old_ticket_moves_in(self, _: Conversation) -> None:
        long_ago = self.life.now - self.life.around(days=200)
        customer, topic = self.customers.somebody("email"), self.life.random.choice(prose.TOPICS)
        dates = {"created_datetime": long_ago, "closed_datetime": long_ago}
        old = self.tickets.opened(customer, EMAIL, topic, **dates, status="closed")
        text = prose.body(self.life.random.choice(topic.openings).format_map(old.words))
        about = {"ticket_id": old.ticket_id, "sender": {"id": customer.id}, "imported": True}
        self.life.account.create("messages", **about, **text, created_datetime=long_ago, sent_datetime=long_ago)

    def _is_cleared(self) -> None:
        """Throw spam out, and run the job of the weekday."""
        self.life.at(self.staff.in_hours(CLEARED_EVERY), self._is_cleared)
        spam = [self.desk.spam.popleft() for _ in range(len(self.desk.spam) - KEPT)]
        if spam:
            self._asked("deleteTicket", {"ticket_ids": [talk.ticket_id for talk in spam]})
            for talk in spam:
                self.life.after(timedelta(seconds=1), self._ticket_is_deleted, talk)
        jobs = (self._all_are_exported, self._many_are_tagged, self._closing_is_called_off, self._macro_fails)
        if self.life.now.weekday() < len(jobs):
            jobs[self.life.now.weekday()]()

    def _all_are_exported(self) -> None:
        self._asked("exportTicket", {"view_id": FIRST_VIEW})

    def _many_are_tagged(self) -> None:
        """Mark the newest tickets for a campaign."""
        name, newest = self.tickets.tags.by_hand(), [*self.desk.recent][-BULK:]
        updates = {"updates": {"tags": [name]}, "ticket_ids": [talk.ticket_id for talk in newest]}
        self._asked("updateTicket", updates)
        for talk in newest:
            self.life.after(timedelta(seconds=1), self.tickets.tag, talk, self.staff.admin, name)

    def _closing_is_called_off(self) -> None:
        job = self._asked("updateTicket", {"view_id": FIRST_VIEW, "updates": {"status": "closed"}})
        asked = {"status": "cancel_requested", "cancel_requested_datetime": self.life.now}
        self.life.account.update("jobs", job, **asked)

    def _macro_fails(self) -> None:
        job = self._asked("applyMacro", {"view_id": FIRST_VIEW, "macro_id": 1})
        self.life.account.update("jobs", job, status="errored", failed_datetime=self.life.now)

    def _asked(self, type: str, params: Mapping[str, object]) -> int:
        return int(self.life.account.create("jobs", type=type, params=params, user_id=self.staff.admin)["id"])
