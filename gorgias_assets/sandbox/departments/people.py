"""The customers of a brand, who write more than once, and on every channel."""

from dataclasses import dataclass

from gorgias_assets.sandbox import prose
from gorgias_assets.sandbox.departments import custom_fields
from gorgias_assets.sandbox.departments.custom_fields import CustomFields
from gorgias_assets.sandbox.life import Life

RETURNING, VIP, WITHOUT_EMAIL = 0.4, 0.06, 0.7
LANGUAGES = {"en": 0.74, "de": 0.11, "fr": 0.09, "es": 0.06}
TIMEZONES = {"en": "Europe/London", "de": "Europe/Berlin", "fr": "Europe/Paris", "es": "Europe/Madrid"}


@dataclass
class Customer:
    """Somebody as the brand's own shop knows them. The account may know less: who only rang left no e-mail address."""

    id: int
    firstname: str
    name: str
    email: str
    phone: str
    handle: str
    language: str
    is_vip: bool

    def address(self, known_by: str) -> str:
        """Return the address that a channel knows: the field named so."""
        return {"email": self.email, "phone": self.phone, "handle": self.handle}[known_by]


class Customers:
    """Everybody who ever wrote, but for those who were merged into somebody else."""

    def __init__(self, life: Life, custom_fields: CustomFields) -> None:
        self.life, self.custom_fields = life, custom_fields
        self.known: list[Customer] = []

    def somebody(self, known_by: str) -> Customer:
        """Return who writes next on a channel: a stranger, or a customer with another matter."""
        if self.known and self.life.chance(RETURNING):
            return self.life.random.choice(self.known)
        return self._stranger(known_by)

    def _stranger(self, known_by: str) -> Customer:
        """Return somebody new. The account learns of an e-mail address if they write from it, or happen to say it."""
        random = self.life.random
        who, is_vip = prose.person(random, "example.com"), self.life.chance(VIP)
        (language,) = random.choices(list(LANGUAGES), [*LANGUAGES.values()])
        known = who | ({"email": None} if known_by != "email" and self.life.chance(WITHOUT_EMAIL) else {})
        where = {"language": language, "timezone": TIMEZONES[language]}
        meta = {"name_set_via": "agent" if known_by == "phone" else "email"}
        row = self.life.account.create("customers", **known, **where, meta=meta)
        phone, handle = f"+1555{random.randrange(10**7):07}", who["email"].partition("@")[0]
        customer = Customer(
            int(row["id"]), who["firstname"], who["name"], who["email"], phone, handle, language, is_vip
        )
        self.known.append(customer)
        if is_vip:
            self.life.after(self.life.around(minutes=1), self._becomes_a_vip, customer)
        return customer

    def _becomes_a_vip(self, customer: Customer) -> None:
        said = {custom_fields.TIER: "VIP", custom_fields.ORDERS: self.life.random.randint(5, 60)}
        self.change(customer, {"custom_fields": self.custom_fields.values(said), "note": "Knows our shop by heart."})

    def change(self, customer: Customer, changes: dict[str, object]) -> None:
        """Update the customer's row unless it is gone."""
        if self.life.account.has("customers", customer.id):
            self.life.account.update("customers", customer.id, **changes)

    def moves(self, customer: Customer) -> None:
        """Give a customer another surname, as a marriage does."""
        lastname = self.life.random.choice(prose.LAST_NAMES)
        customer.name = f"{customer.firstname} {lastname}"
        self.change(customer, {"lastname": lastname, "name": customer.name})

    def are_merged(self, source: Customer, into: Customer) -> None:
        """Merge somebody who was known twice."""
        if source is not into and source in self.known and self.life.account.has("customers", into.id):
            self.known.remove(source)
            self.life.account.merge("customers", source.id, into.id)
            source.id = into.id
