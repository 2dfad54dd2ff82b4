"""The names of the customers and agents of an invented clothes shop, and the letters they write to each other."""

from dataclasses import dataclass
from random import Random

FIRST_NAMES = (
    "Mara", "Tomas", "Ines", "Jonas", "Leila", "Pieter", "Anouk", "Dario", "Signe", "Bruno", "Yara", "Emil", "Noor",
    "Felix", "Greta", "Hugo", "Ida", "Kasper", "Lena", "Milo", "Nadia", "Oskar", "Paula", "Rafael", "Selma", "Theo",
    "Una", "Viktor",
)  # fmt: skip
LAST_NAMES = (
    "Quill", "Vale", "Brandt", "Okafor", "Lindqvist", "Moreau", "Castell", "Novak", "Haddad", "Petrov", "Sorensen",
    "Ferreira", "Tanaka", "Weiss", "Abara", "Dunne", "Eklund", "Fontaine", "Grieg", "Hollis", "Ibarra", "Jansen",
    "Kowal", "Laurent",
)  # fmt: skip
ITEMS = (
    "linen shirt", "wool coat", "rain jacket", "pair of boots", "cotton dress", "knitted scarf", "leather belt",
    "denim skirt", "running tights", "cashmere jumper", "canvas backpack", "swim shorts",
)  # fmt: skip
CARRIERS = ("GreenVan", "Nordpost", "Parcel Owl", "CityCycle")
SIZES = ("XS", "S", "M", "L", "XL")


@dataclass(frozen=True)
class Topic:
    """One reason to write to a shop: the tag and team it ends up with, and its sentences."""

    tag: str
    team: str
    reason: str
    subjects: tuple[str, ...]
    openings: tuple[str, ...]
    replies: tuple[str, ...]


TOPICS = (
    Topic(
        "late-parcel",
        "Shipping",
        "Shipping::Delay",
        ("Where is my parcel?", "Order {order} has not arrived", "Delivery of the {item}"),
        (
            "I ordered a {item} and the tracking page of {carrier} has not moved for four days.",
            "My order {order} was meant to be here on Tuesday. Nobody rang, and there is no card in the letter box.",
            "Could you tell me where order {order} is? {carrier} says it is on the van, every morning.",
        ),
        (
            "I have called {carrier}: the parcel was sorted into the wrong depot and leaves again tonight.",
            "Your parcel was scanned this morning. It should be with you tomorrow before six in the evening.",
        ),
    ),
    Topic(
        "refund",
        "Returns",
        "Returns::Refund",
        ("Refund for order {order}", "When do I get my money back?", "Returned the {item}"),
        (
            "I sent the {item} back two weeks ago and there is still nothing on my account.",
            "The refund for {order} is smaller than what I paid. Was the delivery taken off?",
        ),
        (
            "The refund for {order} left us today. Banks take three to five working days to show it.",
            "You are right, the delivery should have been included. I have just sent you the difference.",
        ),
    ),
    Topic(
        "wrong-size",
        "Returns",
        "Returns::Size",
        ("The {item} is too small", "Exchange for a size {size}", "Size of the {item}"),
        (
            "The {item} is lovely, but the {size} fits like the next size down. Can I swap it?",
            "I would like to exchange the {item} from order {order} for a size {size}.",
        ),
        (
            "Of course. I have put a {size} aside for you, and a return label is attached to this message.",
            "This cut runs small, sorry about that. Keep the label on and the exchange costs you nothing.",
        ),
    ),
    Topic(
        "damaged",
        "Quality",
        "Quality::Damaged",
        ("Damaged {item}", "A seam has come undone", "Complaint about order {order}"),
        (
            "The {item} came with a torn seam along the left side. I have not even worn it.",
            "The box was soaked when {carrier} left it here, and the {item} is stained.",
        ),
        (
            "That should not have passed our checks. A new {item} is on its way; keep the old one.",
            "Thank you for the photos. Would you like a new one, or your money back?",
        ),
    ),
    Topic(
        "order-change",
        "Sales",
        "Order::Change",
        ("Change of address for {order}", "Please add a {item}", "Cancel my order?"),
        (
            "I moved last month and forgot to change my address before ordering. Can you still redirect {order}?",
            "Could you add a {item} in {size} to order {order} before it leaves?",
        ),
        (
            "Just in time: I have changed it, and you will get a new confirmation in a minute.",
            "The order is with {carrier} already, but their app lets you choose another place to pick it up.",
        ),
    ),
    Topic(
        "question",
        "Sales",
        "Product::Question",
        ("A question about the {item}", "Will the {item} come back?", "How do I wash the {item}?"),
        (
            "Is the {item} going to be back in {size}? I have been watching the page since spring.",
            "Does the {item} survive a washing machine? The label and the web page disagree.",
        ),
        (
            "We expect the {item} again at the end of the month. Shall I write to you when it is here?",
            "Thirty degrees, inside out, and dry it flat. I have asked for the page to be corrected.",
        ),
    ),
)
DETAILS = (
    "I ordered it as a present, so the date matters more than it normally would.",
    "I have bought from you for years and this is the first time that I have to write.",
    "I attach the confirmation in case it helps; the number is at the top on the right.",
    "If it is easier you can ring me in the evening, any day but Thursday.",
    "My neighbour takes parcels for me, at number 14, second bell from the top.",
    "I paid with a gift card and the rest by bank transfer, if that makes a difference.",
    "Please do not send another one before you have answered this message.",
    "The web page offered me a chat, which then told me to write an e-mail.",
)
ASSURANCES = (
    "I have left a note on your order, so whoever reads this next knows the whole story.",
    "If anything is still wrong after that, answer this message and it comes straight back to me.",
    "As an apology you will find a voucher in your account, good for a year.",
    "We have changed how we pack these, so it should be the last time.",
    "Nothing else is needed from you at the moment.",
)
FOLLOW_UPS = (
    "Thank you, that was quick. One more thing: does the return label run out?",
    "I have just looked, and the tracking page still shows the old date.",
    "Perfect, it arrived this morning. Thanks for your help!",
    "Sorry, I gave you the wrong order number. The right one is {order}.",
    "That is kind, but I would rather have my money back.",
)
NOTES = (
    "Carrier says delivery tomorrow.",
    "Asked the warehouse for a photo.",
    "Second complaint this month, be generous.",
)
THANKS = ("Perfect, thank you!", "That solves it, thanks.", "Great, have a nice day.", "Lovely, thank you so much.")
INSISTENCE = (
    "That does not answer my question. Can I talk to a person?",
    "I have read that page already. Please have somebody look at my order.",
    "I would rather write with a human being about {order}.",
)
SHORTLY = ("Hi!", "Hello there", "Hey", "Good day")
PROMOTIONS = (
    "Rank first in every search, guaranteed. Answer YES for our prices.",
    "We offer wholesale packaging from our own factory, best quality, see the attached list.",
    "Your domain is about to expire. Renew it today to keep your customers.",
)
ABROAD = {
    "de": {
        "late-parcel": "Meine Bestellung {order} sollte gestern kommen, aber {carrier} zeigt nichts an.",
        "refund": "Ich habe die Ware vor zwei Wochen zurückgeschickt. Wo bleibt das Geld für {order}?",
        "wrong-size": "Leider zu klein. Kann ich es gegen Größe {size} tauschen?",
        "damaged": "Das Paket zu {order} war nass, und eine Naht ist offen.",
        "order-change": "Können Sie {order} noch an eine andere Adresse schicken?",
        "question": "Kommt das Modell in Größe {size} noch einmal herein?",
    },
    "fr": {
        "late-parcel": "Ma commande {order} devait arriver hier, et {carrier} n'affiche rien.",
        "refund": "J'ai renvoyé l'article il y a deux semaines. Où en est le remboursement de {order} ?",
        "wrong-size": "C'est trop petit. Puis-je l'échanger contre la taille {size} ?",
        "damaged": "Le colis {order} était mouillé, et une couture est défaite.",
        "order-change": "Pouvez-vous encore envoyer {order} à une autre adresse ?",
        "question": "Ce modèle reviendra-t-il en taille {size} ?",
    },
    "es": {
        "late-parcel": "Mi pedido {order} tenía que llegar ayer y {carrier} no muestra nada.",
        "refund": "Devolví el artículo hace dos semanas. ¿Cuándo llega el reembolso de {order}?",
        "wrong-size": "Me queda pequeño. ¿Puedo cambiarlo por la talla {size}?",
        "damaged": "El paquete {order} llegó mojado y con una costura abierta.",
        "order-change": "¿Pueden enviar {order} a otra dirección todavía?",
        "question": "¿Volverá este modelo en la talla {size}?",
    },
}
"""By language and topic's tag, an opening in another language than English."""

OUT_OF_HOURS = "Thank you for your message. We are back on the next working day at seven in the morning (UTC)."
AI_ANSWERS = (
    "I have looked up {order} for you: it is with {carrier}, and the tracking page is up to date again tomorrow.",
    "According to our guide, the {item} can be returned within 30 days; the label is in your account.",
    "Your {item} in {size} is on our list. You get a message as soon as there is news about {order}.",
)
HANDOVER = "I am handing this over to a colleague, who will read what you wrote and answer you here."
VOICEMAIL = "Hello, I am calling about {order}. Please call me back, it is about the {item}."
SUMMARIES = (
    "The customer asked about {order}. The agent promised to call {carrier} and to write an e-mail.",
    "The customer wants another size ({size}) of the {item}. The agent has sent a label.",
    "The customer was unhappy about the {item} and accepted a voucher.",
)
REASONS_TO_MOVE = (
    "@{team}: can you take this one? It is about the {item}.",
    "Not ours, moving it to {team}.",
    "My shift is over. {team}, please go on; the customer waits for an answer about {order}.",
)
ATTACHMENTS = {
    "photo.jpg": "image/jpeg",
    "seam.jpg": "image/jpeg",
    "confirmation.pdf": "application/pdf",
    "receipt.png": "image/png",
}
COMMENTS = {
    1: "Nobody answered my actual question.",
    2: "It took far too long.",
    3: "Fine in the end.",
    4: "Friendly and helpful.",
    5: "Quick answer, thank you.",
}


def person(random: Random, domain: str) -> dict[str, str]:
    """Return the names of somebody with a mailbox of the domain, as a user or customer has them."""
    first, last = random.choice(FIRST_NAMES), random.choice(LAST_NAMES)
    email = f"{first}.{last}{random.randint(1, 9999)}@{domain}".lower()
    return {"firstname": first, "lastname": last, "name": f"{first} {last}", "email": email}


def particulars(random: Random) -> dict[str, str]:
    """Return the subject of one conversation, which fills the gaps in a topic's sentences."""
    return {
        "order": f"#{random.randint(10_000, 99_999)}",
        "item": random.choice(ITEMS),
        "carrier": random.choice(CARRIERS),
        "size": random.choice(SIZES),
    }


def letter(random: Random, opening: str, more: tuple[str, ...], greeting: str, signature: str) -> str:
    """Return a message of one to several paragraphs, now and then a long one."""
    length = random.choice((0, 1, 1, 2, 2, 3, 5))
    return "\n\n".join([greeting, opening, *random.sample(more, min(length, len(more))), signature])


def html(text: str) -> str:
    return "".join(f"<p>{paragraph}</p>" for paragraph in text.split("\n\n"))


def body(text: str) -> dict[str, str]:
    """Return a text as a message holds it."""
    return {"body_text": text, "body_html": html(text), "stripped_text": text, "stripped_html": html(text)}
