"""The tags of an account: made for a campaign, deleted after it, renamed, and merged where two mean the same."""

import itertools
from collections.abc import Iterable
from datetime import timedelta

from gorgias_assets.sandbox import prose
from gorgias_assets.sandbox.life import Life

OF_AI = ("ai_processing", "ai_answered", "ai_snooze", "ai_close", "ai_handover", "ai_ignore")
OF_RULES = ("vip", "out-of-hours", "bad-survey", "promotion", "social")
BY_HAND = ("gift", "present", "waiting-for-warehouse", "waiting-for-carrier", "voucher-sent", "angry", "follow-up")
CAMPAIGNS = ("spring-sale", "mid-season", "newsletter", "loyalty-week", "summer-sale", "black-friday", "outlet")
MERGES = {"present": "gift", "angry": "complaint", "waiting-for-carrier": "waiting"}
RENAMES = {"waiting-for-warehouse": "waiting", "follow-up": "call-back", "voucher-sent": "voucher"}
TIDIED_EVERY = timedelta(days=2)


class Tags:
    """Tags by their names. A name that was renamed, or merged into another, still finds the tag."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self._ids: dict[str, int] = {}
        self._in_use = [*BY_HAND]
        self._colors = itertools.count(0x0079FF, 0x17A3C1)
        for name in (*(topic.tag for topic in prose.TOPICS), "complaint", *OF_AI, *OF_RULES, *BY_HAND):
            self._made(name)
        together = itertools.chain(*zip(RENAMES, MERGES, CAMPAIGNS, strict=False))
        self._chores = itertools.cycle([*together, *CAMPAIGNS[len(RENAMES) :]])
        life.after(life.around(days=1), self._are_tidied)

    def of(self, names: Iterable[str]) -> list[int]:
        """Return the tags of some names, each once. A tag that is gone is left out."""
        return list(dict.fromkeys(self._ids[name] for name in names if name in self._ids))

    def by_hand(self) -> str:
        """Return the name of a tag that somebody puts on a ticket for a reason of their own."""
        return self.life.random.choice(self._in_use)

    def _made(self, name: str) -> None:
        color = f"#{next(self._colors) % 0x1000000:06x}"
        self._ids[name] = int(self.life.account.create("tags", name=name, decoration={"color": color})["id"])

    def _are_tidied(self) -> None:
        self.life.after(TIDIED_EVERY, self._are_tidied)
        name = next(self._chores)
        if name in MERGES:
            self._is_merged(name, MERGES[name])
        elif name in RENAMES:
            self.life.account.update("tags", self._ids[name], name=RENAMES[name])
            self._ids[RENAMES[name]] = self._ids[name]
        elif name not in self._ids:
            self._made(name)
            self._in_use.append(name)
            self._is_retired(*self._in_use[len(BY_HAND) : -1])

    def _is_retired(self, *names: str) -> None:
        for name in names:
            self._in_use.remove(name)
            self.life.account.delete("tags", self._ids.pop(name))

    def _is_merged(self, name: str, into: str) -> None:
        source, survivor = self._ids.get(name), self._ids.get(into)
        if source and survivor and source != survivor:
            self.life.account.merge("tags", source, survivor)
            self._ids = {one: survivor if tag == source else tag for one, tag in self._ids.items()}
