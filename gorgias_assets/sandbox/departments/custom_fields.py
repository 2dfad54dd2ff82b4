"""The custom fields of an account, and the values that a conversation gets: by itself, from an agent, at its end."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from gorgias_assets.sandbox import prose
from gorgias_assets.sandbox.life import Life

PRODUCTS = {
    "linen shirt": "Tops::Shirts", "cashmere jumper": "Tops::Knitwear", "knitted scarf": "Accessories::Knitwear",
    "wool coat": "Outerwear::Coats", "rain jacket": "Outerwear::Jackets", "pair of boots": "Shoes::Boots",
    "cotton dress": "Dresses::Summer", "leather belt": "Accessories::Leather", "denim skirt": "Bottoms::Skirts",
    "running tights": "Sports::Running", "canvas backpack": "Accessories::Bags", "swim shorts": "Sports::Swimming",
}  # fmt: skip
RESOLUTIONS = ("Informed", "Refunded::In full", "Refunded::In part", "Replaced", "Voucher", "No answer needed")
REASON, PRODUCT, RESOLUTION, AI_INTENT = "Contact reason", "Product", "Resolution", "AI Intent"
REFUND, ESCALATED, ORDER = "Refund amount", "Escalated", "Order number"
TIER, ORDERS = "Customer type", "Orders"
EXTENDED_EVERY = timedelta(days=9)


def reason_of(topic: prose.Topic, words: dict[str, str]) -> str:
    """Return the contact reason as an agent chooses it, three levels deep where that helps anybody."""
    detail = {"Shipping": words["carrier"], "Returns": words["size"]}.get(topic.team)
    return f"{topic.reason}::{detail}" if detail else topic.reason


def product_of(words: dict[str, str]) -> str:
    return f"{PRODUCTS[words['item']]}::{words['item']}"


def dropdown(choices: Sequence[str]) -> dict[str, Any]:
    return {"data_type": "text", "input_settings": {"input_type": "dropdown", "choices": list(choices)}}


def _reasons() -> list[str]:
    details = {"Shipping": prose.CARRIERS, "Returns": prose.SIZES}
    return [
        f"{topic.reason}::{detail}" if detail else topic.reason
        for topic in prose.TOPICS
        for detail in details.get(topic.team, ("",))
    ]


TEXT = {"data_type": "text", "input_settings": {"input_type": "input", "placeholder": "#12345"}}
NUMBER = {"data_type": "number", "input_settings": {"input_type": "input_number", "min": 0, "max": "5000"}}
BOOLEAN = {"data_type": "boolean", "input_settings": {"input_type": "dropdown", "choices": [True, False]}}
OF_TICKETS = (
    (REASON, "contact_reason", dropdown(_reasons())),
    (PRODUCT, "product", dropdown([f"{family}::{item}" for item, family in PRODUCTS.items()])),
    (RESOLUTION, "resolution", dropdown(RESOLUTIONS)),
    (AI_INTENT, "ai_intent", dropdown(sorted({topic.reason for topic in prose.TOPICS}))),
    (REFUND, None, NUMBER),
    (ESCALATED, None, BOOLEAN),
    (ORDER, None, TEXT),
)
OF_CUSTOMERS = ((TIER, "customer_type", dropdown(["VIP", "Wholesale", "Press"])), (ORDERS, None, NUMBER))
"""Label, how Gorgias itself uses it if it does, definition."""


class CustomFields:
    """Custom fields by their labels."""

    def __init__(self, life: Life) -> None:
        """Take over what the account has; a field that Gorgias uses gives way to the new one of its use."""
        self.life = life
        old = life.account.rows("custom_fields")
        self._ids: dict[str, int] = {field["label"]: field["id"] for field in old}
        uses = {managed for fields in (OF_TICKETS, OF_CUSTOMERS) for _, managed, _ in fields}
        for field in (field for field in old if field["managed_type"] and field["managed_type"] in uses):
            life.account.update("custom_fields", field["id"], deactivated_datetime=life.now)
        for object_type, fields in (("Ticket", OF_TICKETS), ("Customer", OF_CUSTOMERS)):
            for priority, (label, managed, definition) in enumerate(fields, 100):
                if label not in self._ids:
                    about = {"object_type": object_type, "managed_type": managed, "definition": definition}
                    row = life.account.create("custom_fields", label=label, priority=priority, **about)
                    self._ids[label] = int(row["id"])
        life.after(life.around(days=4), self._are_extended)

    def values(self, said: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Return values by label as a ticket or customer holds them."""
        return {str(self._ids[label]): {"id": self._ids[label], "value": value} for label, value in said.items()}

    def _are_extended(self) -> None:
        """Let the AI's intents have one more choice, which Gorgias adds by itself."""
        self.life.after(self.life.around(days=EXTENDED_EVERY.days), self._are_extended)
        field = self.life.account.row("custom_fields", self._ids[AI_INTENT])
        if field is not None:
            choices = field["definition"]["input_settings"]["choices"]
            more = f"Other::{len(choices) - 5}"
            self.life.account.update("custom_fields", field["id"], definition=dropdown([*choices, more]))
