"""The people of an account: their names, and the customers who write more than once, on every channel."""

from dataclasses import dataclass
from random import Random

from gorgias_assets.sandbox import fields, prose
from gorgias_assets.sandbox.fields import Fields
from gorgias_assets.sandbox.life import Life

RETURNING, VIP, WITHOUT_EMAIL = 0.4, 0.06, 0.7
LANGUAGES = {"en": 0.74, "de": 0.11, "fr": 0.09, "es": 0.06}
TIMEZONES = {"en": "Europe/London", "de": "Europe/Berlin", "fr": "Europe/Paris", "es": "Europe/Madrid"}


def person(random: Random, domain: str) -> dict[str, str]:
    """Return the names of somebody with a mailbox of the domain, as a user or customer has them."""
    first, last = random.choice(prose.FIRST_NAMES), random.choice(prose.LAST_NAMES)
    email = f"{first}.{last}{random.randint(1, 9999)}@{domain}".lower()
    return {"firstname": first, "lastname": last, "name": f"{first} {last}", "email": email}


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

    def __init__(self, life: Life, custom: Fields) -> None:
        self.life, self.custom = life, custom
        self.known: list[Customer] = []

    def somebody(self, known_by: str) -> Customer:
        """Return who writes next on a channel: a stranger, or a customer with another matter."""
        if self.known and self.life.chance(RETURNING):
            return self.life.random.choice(self.known)
        return self._stranger(known_by)

    def _stranger(self, known_by: str) -> Customer:
        random = self.life.random
        who = person(random, "example.com")
        number = random.randrange(10**4)
        language = random.choices(list(LANGUAGES), [*LANGUAGES.values()])[0]
        customer = Customer(
            0,
            who["firstname"],
            who["name"],
            email=who["email"],
            phone=f"+1555{random.randrange(10**7):07}",
            handle=f"{who['firstname']}.{who['lastname']}{number}".lower(),
            language=language,
            is_vip=self.life.chance(VIP),
        )
        is_nameless = known_by != "email" and self.life.chance(WITHOUT_EMAIL)
        row = self.life.account.create(
            "customers",
            **who | ({"email": None} if is_nameless else {}),
            language=language,
            timezone=TIMEZONES[language],
            meta={"name_set_via": "agent" if known_by == "phone" else "email"},
            data={"lifetime_orders": random.randint(0, 9)} if customer.is_vip else None,
        )
        customer.id = int(row["id"])
        if customer.is_vip:
            self._gets_a_tier(customer)
        self.known.append(customer)
        return customer

    def _gets_a_tier(self, customer: Customer) -> None:
        said = {fields.TIER: "VIP", fields.ORDERS: self.life.random.randint(5, 60)}
        values = {"custom_fields": self.custom.values(said)}
        self.life.after(self.life.around(minutes=1), self.change, customer, values)

    def change(self, customer: Customer, fields: dict[str, object]) -> None:
        """Update the customer's row unless it is gone."""
        if self.life.account.has("customers", customer.id):
            self.life.account.update("customers", customer.id, **fields)

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
