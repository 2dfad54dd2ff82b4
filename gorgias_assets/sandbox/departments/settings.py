"""The settings of an account, which a lead changes now and then: views, widgets, hours, the subscription."""

import itertools
from datetime import timedelta
from typing import Any

from gorgias_assets.sandbox.departments.staff import Staff
from gorgias_assets.sandbox.life import Life
from gorgias_assets.sandbox.objects import ACCOUNT_ID

CHANGED_EVERY, UPGRADED_AFTER = timedelta(days=1), timedelta(days=9)
FILTERS = "containsAny(ticket.tags.name, ['{}']) && eq(ticket.status, 'open')"
THEMES = ("gift", "voucher", "vip", "complaint", "social")


class Settings:
    """A change every working day, and a larger plan after some days."""

    def __init__(self, life: Life, staff: Staff) -> None:
        self.life, self.staff = life, staff
        self._views: list[int] = []
        self._themes = itertools.cycle(THEMES)
        self._changes = itertools.cycle((self._view_is_made, self._hours_change, self._widget_moves))
        life.at(staff.in_hours(CHANGED_EVERY), self._next_change)
        life.at(staff.in_hours(UPGRADED_AFTER), self._plan_changes)

    def _next_change(self) -> None:
        self.life.at(self.staff.in_hours(CHANGED_EVERY), self._next_change)
        with self.life.account.acting(self.staff.admin):
            next(self._changes)()

    def _view_is_made(self) -> None:
        """Have a view for a theme, and drop the oldest of three."""
        theme = next(self._themes)
        about: dict[str, Any] = {"category": "user", "slug": f"open-{theme}", "filters": FILTERS.format(theme)}
        fields = ["details", "tags", "customer", "last_message"]
        row = self.life.account.create("views", name=f"Open: {theme}", fields=fields, **about)
        self._views.append(int(row["id"]))
        if len(self._views) > len(THEMES) // 2:
            self.life.account.delete("views", self._views.pop(0))

    def _hours_change(self) -> None:
        """Have the brand answer half an hour longer on Saturdays, or not any more."""
        (setting,) = [row for row in self.life.account.rows("account_settings") if row["type"] == "business-hours"]
        *week, saturday = setting["data"]["business_hours"]
        saturday["to_time"] = "14:00" if saturday["to_time"] == "14:30" else "14:30"
        self.life.account.update(
            "account_settings", setting["id"], data={**setting["data"], "business_hours": [*week, saturday]}
        )

    def _widget_moves(self) -> None:
        widget = self.life.random.choice(self.life.account.rows("widgets"))
        self.life.account.update("widgets", widget["id"], order=widget["order"] + 1)

    def _plan_changes(self) -> None:
        account = self.life.account.row("account", ACCOUNT_ID)
        if account is not None:
            plan = {"plan": "advanced-monthly", "start_datetime": self.life.now}
            self.life.account.update("account", ACCOUNT_ID, current_subscription=account["current_subscription"] | plan)
