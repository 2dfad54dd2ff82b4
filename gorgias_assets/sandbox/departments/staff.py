"""The people who answer: agents with hours, roles and teams, who come, move and leave; and two who are bots.

The brand answers by hand on weekdays, and a little on Saturdays. Hours are UTC.
"""

import itertools
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gorgias_assets.sandbox import prose
from gorgias_assets.sandbox.life import Life

SHIFTS = (range(7, 15), range(9, 17), range(11, 19))
OPENS, CLOSES, SATURDAY_CLOSES = 7, 19, 14
CHANGES_EVERY, DELETED = timedelta(days=4), 0.4
ESCALATIONS = "Escalations"
TEAMS = {"Shipping": "🚚", "Returns": "📦", "Quality": "🔍", "Sales": "🛍️", ESCALATIONS: "🔥"}
"""Names and emoji. Each of the teams but the last has its topics."""

ROLES = 2 * ["agent"] + 8 * ["basic-agent"] + ["lite-agent"]
"""The roles of those who answer when the brand opens; `agent` is a team's lead."""

COUNTRIES = {"GB": "Europe/London", "PT": "Europe/Lisbon", "DE": "Europe/Berlin", "PL": "Europe/Warsaw"}


@dataclass(eq=False)
class Agent:
    """Somebody who answers. `pace` is about one, and more for who takes longer than others."""

    id: int
    team: str
    shift: range
    pace: float

    def is_on_duty(self, moment: datetime) -> bool:
        return moment.hour in self.shift


class Staff:
    """Everybody with a login: those who answer, by team, and those who do not."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.agents: list[Agent] = []
        self.teams = {name: self._founded(name, emoji) for name, emoji in TEAMS.items()}
        self.admin = life.account.owner_id
        self.robot = self._bot("AI Agent", "bot@68c0ffee00112233445566aa", "68c0ffee00112233445566aa")
        self.mailer = self._bot("Shop Bot", "support@shop.example")
        self._account_of("observer-agent", "Watches the numbers")
        for number, role in enumerate(ROLES):
            self._joins(list(TEAMS)[number % len(TEAMS)], role)
        for team in TEAMS:
            self._show_members(team)
        self._changes = itertools.cycle((self._leaves, self._moves, self._is_promoted))
        life.at(self.in_hours(life.around(days=2)), self._somebody_changes)
        life.at(self.next_opening(life.now), self._morning_comes)

    def is_open(self, moment: datetime) -> bool:
        """Return True while people answer."""
        return moment.weekday() < 6 and OPENS <= moment.hour < (SATURDAY_CLOSES if moment.weekday() == 5 else CLOSES)

    def next_opening(self, moment: datetime) -> datetime:
        """Return the moment itself while people answer, else when they begin again."""
        if self.is_open(moment):
            return moment
        opening = moment.replace(hour=OPENS, minute=0, second=0, microsecond=0)
        while opening <= moment or not self.is_open(opening):
            opening += timedelta(days=1)
        return opening

    def in_hours(self, delay: timedelta) -> datetime:
        """Return when somebody does what is due after a delay. At night it waits for the morning."""
        moment = self.life.now + delay
        opening = self.next_opening(moment)
        return moment if opening == moment else opening + self.life.around(minutes=50)

    def somebody(self, team: str, other_than: Agent | None = None) -> Agent:
        """Return one of the team, preferably on duty, or else anybody."""
        others = [agent for agent in self.agents if agent is not other_than]
        of_team = [agent for agent in others if agent.team == team] or others
        on_duty = [agent for agent in of_team if agent.is_on_duty(self.life.now)]
        return self.life.random.choice(on_duty or of_team)

    def is_here(self, agent: Agent) -> bool:
        return agent in self.agents

    def _founded(self, name: str, emoji: str) -> int:
        about = {"description": f"Everything about {name.lower()}", "decoration": {"emoji": emoji}}
        return int(self.life.account.create("teams", name=name, **about)["id"])

    def _bot(self, name: str, email: str, client_id: str | None = None) -> int:
        first, _, last = name.partition(" ")
        about: dict[str, Any] = {"role": {"name": "bot"}, "client_id": client_id, "has_password": False}
        names = {"name": name, "firstname": first, "lastname": last}
        return int(self.life.account.create("users", email=email, **names, **about)["id"])

    def _account_of(self, role: str, bio: str) -> int:
        country = self.life.random.choice(list(COUNTRIES))
        about = {"country": country, "timezone": COUNTRIES[country], "role": {"name": role}, "bio": bio}
        meta = {"sso": None, "profile_picture_url": None, "name_set_via": "agent"}
        who = prose.person(self.life.random, "shop.example")
        return int(self.life.account.create("users", **who, **about, meta=meta)["id"])

    def _joins(self, team: str, role: str) -> None:
        user_id = self._account_of(role, f"{team} agent")
        pace = self.life.random.uniform(0.6, 1.7)
        self.agents.append(Agent(user_id, team, SHIFTS[len(self.agents) % len(SHIFTS)], pace))

    def _morning_comes(self) -> None:
        """Have whoever answers log in."""
        self.life.at(self.next_opening(self.life.now + timedelta(days=1)), self._morning_comes)
        for number, agent in enumerate(self.agents):
            self.life.after(timedelta(seconds=97 * number), self._logs_in, agent)

    def _logs_in(self, agent: Agent) -> None:
        if self.is_here(agent):
            address = {"remote_addr": f"192.0.2.{agent.id % 256}", "login_type": "password"}
            self.life.account.tell("users", agent.id, "logged-in", address, agent.id)

    def _somebody_changes(self) -> None:
        """Have somebody leave, move to another team, or become its lead. Nobody is taken who is a team alone."""
        self.life.at(self.in_hours(self.life.around(days=CHANGES_EVERY.days)), self._somebody_changes)
        sizes = Counter(agent.team for agent in self.agents)
        next(self._changes)(self.life.random.choice([agent for agent in self.agents if sizes[agent.team] > 1]))

    def _moves(self, agent: Agent) -> None:
        before = agent.team
        agent.team = self.life.random.choice([team for team in TEAMS if team != before])
        self._show_members(before, agent.team)

    def _is_promoted(self, agent: Agent) -> None:
        self.life.account.update("users", agent.id, role={"name": "agent"}, bio=f"{agent.team} lead")

    def _leaves(self, agent: Agent) -> None:
        """Have somebody leave. Another one comes soon; the login is closed, and removed some day or never."""
        self.agents.remove(agent)
        self.life.account.update("users", agent.id, active=False, deactivated_datetime=self.life.now)
        self._show_members(agent.team)
        self.life.at(self.in_hours(self.life.around(days=1)), self._is_replaced, agent.team)
        if self.life.chance(DELETED):
            self.life.after(self.life.around(days=9), self.life.account.delete, "users", agent.id)

    def _is_replaced(self, team: str) -> None:
        self._joins(team, "basic-agent")
        self._show_members(team)

    def _show_members(self, *teams: str) -> None:
        for team in teams:
            members = [{"id": agent.id} for agent in self.agents if agent.team == team]
            self.life.account.update("teams", self.teams[team], members=members)
