"""The tags of an account: they are made, renamed, and merged once somebody sees that two mean the same."""

import itertools
from datetime import timedelta

from gorgias_assets.sandbox import prose
from gorgias_assets.sandbox.life import Life

OF_AI = ("ai_processing", "ai_answered", "ai_snooze", "ai_close", "ai_handover", "ai_ignore")
OF_RULES = ("vip", "out-of-hours", "bad-survey", "promotion", "social")
BY_HAND = ("gift", "present", "waiting-for-warehouse", "waiting-for-carrier", "voucher-sent", "angry", "follow-up")
CAMPAIGNS = ("spring-sale", "mid-season", "newsletter", "loyalty-week", "summer-sale", "black-friday", "outlet")
MERGES = {"present": "gift", "angry": "complaint", "waiting-for-carrier": "waiting"}
RENAMES = {"waiting-for-warehouse": "waiting", "follow-up": "call-back", "voucher-sent": "voucher"}
TIDIED_EVERY = timedelta(days=3)


class Labels:
    """Tags by their names. A name that was renamed, or merged into another, still finds the tag."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self._ids: dict[str, int] = {}
        self._in_use = [*BY_HAND]
        self._colors = itertools.count(0x0079FF, 0x17A3C1)
        for name in (*(topic.tag for topic in prose.TOPICS), "complaint", *OF_AI, *OF_RULES, *BY_HAND):
            self._made(name)
        self._chores = itertools.cycle([*RENAMES, *MERGES, *CAMPAIGNS])
        life.after(life.around(days=1), self._are_tidied)

    def __getitem__(self, name: str) -> int:
        return self._ids[name]

    def by_hand(self) -> str:
        """Return the name of a tag that somebody puts on a ticket for a reason of their own."""
        return self.life.random.choice(self._in_use)

    def _made(self, name: str) -> None:
        color = f"#{next(self._colors) % 0x1000000:06x}"
        self._ids[name] = int(self.life.account.create("tags", name=name, decoration={"color": color})["id"])

    def _are_tidied(self) -> None:
        self.life.after(self.life.around(days=TIDIED_EVERY.days), self._are_tidied)
        name = next(self._chores)
        if name in MERGES:
            self._is_merged(name, MERGES[name])
        elif name in RENAMES:
            self.life.account.update("tags", self._ids[name], name=RENAMES[name])
            self._ids[RENAMES[name]] = self._ids[name]
        elif name not in self._ids:
            self._made(name)
            self._in_use.append(name)

    def _is_merged(self, name: str, into: str) -> None:
        source, survivor = self._ids.get(name), self._ids.get(into)
        if source and survivor and source != survivor:
            self.life.account.merge("tags", source, survivor)
            self._ids = {one: survivor if tag == source else tag for one, tag in self._ids.items()}
