"""The ways to reach a brand: their shares, the integrations behind them, and the addresses in a message's source."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gorgias_assets.sandbox.departments.people import Customer
from gorgias_assets.sandbox.life import Life


@dataclass(frozen=True)
class Integration:
    """A connection of the brand with the world: `address` is how customers know it."""

    name: str
    type: str
    address: str


MAILBOX = Integration("Shop support", "email", "support@shop.example")
CHAT = Integration("Chat on shop.example", "gorgias_chat", "shop.example")
HELP_CENTER = Integration("Help center", "self_service", "help.shop.example")
INSTAGRAM = Integration("@shop.example", "facebook", "17841400000000001")
FACEBOOK = Integration("Shop on Facebook", "facebook", "104500000000001")
WHATSAPP = Integration("Shop on WhatsApp", "whatsapp", "+15550100150")
SMS = Integration("Shop texts", "sms", "+15550100151")
PHONE = Integration("Hotline", "phone", "+15550100199")
INTEGRATIONS = (MAILBOX, CHAT, HELP_CENTER, INSTAGRAM, FACEBOOK, WHATSAPP, SMS, PHONE)


@dataclass(frozen=True)
class Channel:
    """One way to write to the brand.

    - `share`: of all tickets that customers open in writing.
    - `known_by`: the field of a customer that holds the address there.
    - `haste`: how much faster than by e-mail people answer each other.
    - `is_letter`: a message there has a subject, and may be long.
    - `is_answered_by_email`: the brand answers by e-mail, and the conversation goes on there.
    """

    name: str
    via: str
    share: float
    integration: Integration
    known_by: str = "email"
    haste: float = 1.0
    is_letter: bool = True
    is_answered_by_email: bool = False


EMAIL = Channel("email", "email", 0.42, MAILBOX)
PHONE_CALL = Channel("phone", "phone", 0.0, PHONE, "phone", 4.0, is_letter=False)
CHANNELS = (
    EMAIL,
    Channel("chat", "gorgias_chat", 0.21, CHAT, haste=20.0, is_letter=False),
    Channel("contact_form", "contact_form", 0.13, MAILBOX, is_answered_by_email=True),
    Channel("help-center", "help-center", 0.05, HELP_CENTER, is_answered_by_email=True),
    Channel("whatsapp", "whatsapp", 0.06, WHATSAPP, "phone", 4.0, is_letter=False),
    Channel("instagram-direct-message", "instagram", 0.05, INSTAGRAM, "handle", 3.0, is_letter=False),
    Channel("instagram-comment", "instagram", 0.04, INSTAGRAM, "handle", 2.0, is_letter=False),
    Channel("facebook-messenger", "facebook", 0.02, FACEBOOK, "handle", 3.0, is_letter=False),
    Channel("sms", "sms", 0.02, SMS, "phone", 4.0, is_letter=False),
)
"""The channels that customers write on; calls are made in `calls`."""


class Integrations:
    """The integrations of an account, by what they connect."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self._ids = {integration: self._connected(integration) for integration in INTEGRATIONS}
        life.after(life.around(days=5), self._one_fails)

    def __getitem__(self, integration: Integration) -> int:
        return self._ids[integration]

    def _connected(self, integration: Integration) -> int:
        about = {"type": integration.type, "meta": {"address": integration.address}}
        return int(self.life.account.create("integrations", name=integration.name, **about)["id"])

    def _one_fails(self) -> None:
        """Have the permission of one run out, until somebody grants it again."""
        self.life.after(self.life.around(days=8), self._one_fails)
        failing = self._ids[self.life.random.choice((INSTAGRAM, FACEBOOK, WHATSAPP))]
        self.life.account.update("integrations", failing, deactivated_datetime=self.life.now)
        self.life.after(self.life.around(hours=2), self._works_again, failing)

    def _works_again(self, integration: int) -> None:
        self.life.account.update("integrations", integration, deactivated_datetime=None)


def shown(integration: Integration) -> dict[str, str]:
    """Return an integration as a ticket shows it."""
    return {"name": integration.name, "address": integration.address, "type": integration.type}


def answering(channel: Channel) -> Channel:
    """Return the channel on which the brand answers."""
    return EMAIL if channel.is_answered_by_email else channel


def from_customer(channel: Channel, customer: Customer, copies: Sequence[str] = ()) -> dict[str, Any]:
    """Return the source of a customer's message; `copies` are further people's addresses."""
    return _source(channel.name, _theirs(channel, customer), _ours(channel), copies)


def to_customer(channel: Channel, customer: Customer, copies: Sequence[str] = ()) -> dict[str, Any]:
    """Return the source of a message to the customer."""
    return _source(channel.name, _ours(channel), _theirs(channel, customer), copies)


def _source(type_: str, sender: dict[str, str], receiver: dict[str, str], copies: Sequence[str]) -> dict[str, Any]:
    source: dict[str, Any] = {"type": type_, "from": sender, "to": [receiver]}
    if copies:
        source["cc"] = [{"name": "", "address": address} for address in copies]
    return source


def _ours(channel: Channel) -> dict[str, str]:
    return {"name": channel.integration.name, "address": channel.integration.address}


def _theirs(channel: Channel, customer: Customer) -> dict[str, str]:
    return {"name": customer.name, "address": customer.address(channel.known_by)}
