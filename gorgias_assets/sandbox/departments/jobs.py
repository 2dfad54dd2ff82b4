"""Jobs: what a lead has Gorgias do to many tickets at once. They run by themselves, fail, or are called off."""

from collections.abc import Mapping
from datetime import timedelta

from gorgias_assets.sandbox.departments.desk import Desk
from gorgias_assets.sandbox.departments.staff import Staff
from gorgias_assets.sandbox.departments.tickets import Tickets
from gorgias_assets.sandbox.life import Life
from gorgias_assets.sandbox.objects import FIRST_VIEW

EVERY = timedelta(days=1)
BULK, KEPT = 8, 3
"""How many tickets are tagged at once; how many that are spam stay when the others are deleted."""


class Jobs:
    """The jobs of every working day: spam is deleted, and each weekday has one of its own."""

    def __init__(self, life: Life, staff: Staff, tickets: Tickets, desk: Desk) -> None:
        self.life, self.staff, self.tickets, self.desk = life, staff, tickets, desk
        life.at(staff.in_hours(EVERY), self._day_comes)

    def _day_comes(self) -> None:
        self.life.at(self.staff.in_hours(EVERY), self._day_comes)
        self._spam_is_deleted()
        jobs = (self._all_are_exported, self._many_are_tagged, self._closing_is_called_off, self._macro_fails)
        if self.life.now.weekday() < len(jobs):
            jobs[self.life.now.weekday()]()

    def _spam_is_deleted(self) -> None:
        spam = [self.desk.spam.popleft() for _ in range(len(self.desk.spam) - KEPT)]
        if spam:
            self._asked("deleteTicket", {"ticket_ids": [talk.ticket_id for talk in spam]})
            for talk in spam:
                self.life.after(timedelta(seconds=1), self.tickets.delete, talk, self.staff.admin)

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
