"""The settings of an account, which a lead changes now and then: views, widgets, hours, the subscription."""

import itertools
from datetime import timedelta
from typing import Any

from gorgias_assets.sandbox.departments.staff import Staff
from gorgias_assets.sandbox.life import Life
from gorgias_assets.sandbox.objects import ACCOUNT_ID

CHANGED_EVERY = timedelta(days=2)
FILTERS = "containsAny(ticket.tags.name, ['{}']) && eq(ticket.status, 'open')"
THEMES = ("gift", "voucher", "vip", "complaint", "social")


class Settings:
    """Changes, one after the other. A view that somebody made is deleted when the next ones are there."""

    def __init__(self, life: Life, staff: Staff) -> None:
        self.life, self.staff = life, staff
        self._views: list[int] = []
        self._themes = itertools.cycle(THEMES)
        self._changes = itertools.cycle(
            (self._view_is_made, self._hours_change, self._widget_moves, self._view_is_made, self._plan_changes)
        )
        life.at(staff.in_hours(life.around(days=1)), self._next_change)

    def _next_change(self) -> None:
        self.life.at(self.staff.in_hours(self.life.around(days=CHANGED_EVERY.days)), self._next_change)
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
            plan = {"plan": self.life.random.choice(("pro-monthly", "advanced-monthly", "pro-yearly"))}
            self.life.account.update("account", ACCOUNT_ID, current_subscription=account["current_subscription"] | plan)
