"""People who asked to be forgotten: a list of keyed hashes, and rows without these people.

The list has an HMAC of each id, e-mail address and phone number of a person, so that it names nobody to those who lack
the key, and finds the person again in whatever is read. All rows pass it before they are stored. Rows stay, as others
count them; what their declaration says to hold something of a person becomes null.

A row is the person's own if it has the id of the customer, or of one of their tickets, messages, surveys or calls, or
shows the person as its customer, sender or receiver. All of it is erased, but for what it shows of other people. Of a
row in which the person only takes part, what is known of them is erased, with all that anybody wrote. Of any other row
each text is erased that has one of the person's addresses or numbers in it, in whatever spelling.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import unescape
from string import ascii_letters, digits
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from gorgias_assets.columns import EXTRA, Column, Kind, Personal, Place
from gorgias_assets.privacy.policy import VARIABLE, PrivacyKey, plain_email, plain_name, plain_phone, punycode, visible
from gorgias_assets.warehouse.tables import Listed, WarehouseError

CUSTOMER, TICKET, MESSAGE, SURVEY, CALL, EMAIL, PHONE = (
    "customer",
    "ticket",
    "message",
    "survey",
    "call",
    "email",
    "phone",
)
KEY = "key"  # the kind of the entry by which another key is noticed
ERASE, HASH = "erase", "hash"

OBJECTS = {
    "customers": CUSTOMER,
    "tickets": TICKET,
    "ticket_messages": MESSAGE,
    "satisfaction_surveys": SURVEY,
    "voice_calls": CALL,
}
"""The kinds of ids by the entity whose rows have them."""

OBJECT_TYPES = {"Customer": CUSTOMER, "Ticket": TICKET, "TicketMessage": MESSAGE, "SatisfactionSurvey": SURVEY}
"""The kinds of the ids in events."""

_PERSON = frozenset({"email", "name", "firstname", "lastname"})  # fields of an object that shows a person
_OWNERS = frozenset({"customer", "sender", "receiver"})  # columns with the person whose row it is
_HASHED = frozenset({Personal.NAME, Personal.EMAIL, Personal.PHONE})
_AT = "@"
_WRITTEN_AT = re.compile(r"\s?[\[(]at[\])]\s?", re.IGNORECASE)
_MAY_BE_WRITTEN = re.compile(r"[\[(]at[\])]", re.IGNORECASE)
_BEFORE_NAME = re.compile(r"[^\w.+-]|\.\.+")
_AROUND = "._-+"  # signs that a text may put before or behind an address
_MAY_HAVE_AT = re.compile(r"@|%(?:25)*40|=40|&#|&amp;|&commat|\\u0040|[\uff20\ufe6b]|[\[(]at[\])]", re.IGNORECASE)
_ASCII_END = re.compile(r"[!-~]+$")
_ASCII = re.compile(r"[!-~]+")
_TAG = re.compile(r"<[^<>@]{0,200}>")
_QUOTED = re.compile(r"=(?:\r?\n|([0-9A-F]{2}))", re.IGNORECASE)  # as e-mails encode signs, and break lines
_ESCAPED = re.compile(r"\\+(?:u([0-9a-f]{4})|[nrt])", re.IGNORECASE)  # as JSON does
_COUNTRY = 2  # letters of a domain that ends an address
_LETTERS = f"{ascii_letters}{digits}_.!#$%&'*+/=?^`{{|}}~-"  # before an @
_LOCAL = re.compile(rf"[\w{re.escape(_LETTERS)}]+$")
_DOMAIN = re.compile(r"[\w-]+(?:\.[\w-]+)+")
_LONGEST_LOCAL, _LONGEST_DOMAIN = 64, 255  # letters before and after an @, by RFC 5321
_PHONE = re.compile(r"(?<!\d)\+?\d(?:[\s().\-/_\u00a0\u2010-\u2015]{0,3}\d){5,17}(?!\d)")
SHORTEST_PHONE = 6  # digits
_ABROAD = ("+", "00", "011")  # before the number of a country
_LONGEST_COUNTRY = 3  # digits of it
_SHORTEST_AT_HOME = 8  # digits of a number without its country, below which others have the same


def _decoded(text: str) -> list[str]:
    """Return a text, and as it reads once what URLs, HTML and JSON encode in it is decoded, if that differs."""
    plain = decoded = visible(text)
    if "%" in plain:
        decoded = unquote(unquote(decoded))
    if "&" in plain:
        decoded = unescape(unescape(decoded))
    if "\\" in plain:
        decoded = _ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else " ", decoded)
    if _MAY_BE_WRITTEN.search(plain):
        decoded = _WRITTEN_AT.sub(_AT, decoded)
    return [plain] if decoded is plain or decoded == plain else [plain, visible(decoded)]


def _readings(text: str) -> Iterator[str]:
    """Yield a text, also decoded, without tags, and as an e-mail encodes it."""
    readings = _decoded(text)
    readings += [_TAG.sub("", one) for one in readings if "<" in one]
    readings += [_QUOTED.sub(_unquoted, one) for one in readings if "=" in one]
    yield from dict.fromkeys(readings)


def _unquoted(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else ""


def emails_in(text: str) -> set[str]:
    """Return the addresses in a text, as they are hashed: also if it encodes them as a URL, HTML or e-mail does."""
    if _AT not in text and not _MAY_HAVE_AT.search(text):
        return set()
    found = set()
    for plain in _readings(text):
        for sign in re.finditer(_AT, plain):
            before = plain[max(sign.start() - _LONGEST_LOCAL, 0) : sign.start()].rstrip('"')
            if before.isascii():
                local = before[len(before.rstrip(_LETTERS)) :]
            else:
                local = match[0] if (match := _LOCAL.search(before)) else ""
            domain = _DOMAIN.match(plain, sign.end(), sign.end() + _LONGEST_DOMAIN)
            if local and domain:
                found.add((local, domain[0]))
    return {
        plain_email(f"{name}@{domain}")
        for local, after in found
        for name in _names(local)
        for domain in _domains(after)
        if name
    }


def _names(local: str) -> set[str]:
    """Return an address's part before its sign, also without what a text may put before one."""
    names = {local, _BEFORE_NAME.split(local)[-1]}
    names |= {found[0] for name in names if not name.isascii() and (found := _ASCII_END.search(name))}
    return names | {name.lstrip(_AROUND) for name in names}


def _domains(domain: str) -> set[str]:
    """Return an address's domain, also without what a text may put behind one: `a@b.example.Thanks`."""
    domains = {domain}
    if not domain.isascii() and (found := _ASCII.match(domain)):
        domains.add(found[0])
    for one in list(domains):
        before, _, last = one.rpartition(".")
        if not last.lower().startswith("xn--"):
            domains.add(f"{before}.{re.split('[-_]', last)[0]}")
        while "." in before and (len(last) > _COUNTRY or (last.istitle() and not before.istitle())):
            domains.add(before)
            before, _, last = before.rpartition(".")
    return {one.rstrip(_AROUND) for one in domains}


def phones_in(text: str) -> set[str]:
    """Return the numbers in a text, as they are hashed; those with their country also without it."""
    found = set()
    for reading in _decoded(text):
        for match in set(_PHONE.findall(reading)):
            for part in _runs(match):
                whole = part.replace("(0)", "") if part.startswith(_ABROAD) else part
                plain = plain_phone(whole)
                found |= {plain, *(at_home(plain) if whole.startswith(_ABROAD) else ())}
    return {one for one in found if len(one) >= SHORTEST_PHONE}


def _runs(number: str) -> Iterator[str]:
    """Yield a number, and each part of it between blanks: another number may be next to it."""
    groups = number.split()
    for first in range(len(groups)):
        for last in range(first + 1, len(groups) + 1):
            yield "".join(groups[first:last])


def at_home(phone: str) -> set[str]:
    """Return a plain number without the digits that may be its country's, as it is written at home."""
    shorter = (phone[cut:].lstrip("0") for cut in range(1, _LONGEST_COUNTRY + 1))
    return {one for one in shorter if len(one) >= _SHORTEST_AT_HOME}


_UNSEEN = r"(?:[\x{AD}\x{200B}-\x{200F}\x{2060}\x{FEFF}]|=\\?r?\\?n?\s{0,2})?"


def email_pattern(email: str) -> str:
    """Return an expression of RE2 for texts that may have a plain address, in any reading; some have another."""
    name, _, domain = email.partition(_AT)
    domains = "|".join(_letters(one) for one in sorted({domain, punycode(domain)}))
    return rf"{_letters(name)}[\s\S]{{1,30}}(?:{domains})"


def _letters(text: str) -> str:
    """Return an expression for letters and digits in any width; all else may be encoded."""
    signs = (f"[{one}{chr(ord(one) + 0xFEE0)}]" if one.isascii() and one.isalnum() else r"[\s\S]{1,12}" for one in text)
    return _UNSEEN.join(signs)


def phone_pattern(phone: str) -> str:
    """Return an expression of RE2 for texts that may have a plain number, in any reading; some have another."""
    shortest = min(at_home(phone), key=len, default=phone)
    return r"(?:[^0-9]{0,6}|%[0-9A-F]{2}|&#\d+;)".join(f"[{one}{chr(ord(one) + 0xFEE0)}]" for one in shortest)


def hash_of(key: PrivacyKey, kind: str, text: str) -> str:
    """Return the hash of an id, or of a plain address or number, which is that of a privacy policy."""
    return key.hashed(text if kind in (EMAIL, PHONE) else f"{kind}:{text}")


def kind_of_id(column: str) -> str | None:
    """Return the kind of the ids in a column of whosever rows; None if it has none."""
    if column == "customer_id" or column.endswith("_customer_id"):
        return CUSTOMER
    return column.removesuffix("_id") if column in ("ticket_id", "call_id") else None


@dataclass
class Forgotten:
    """The list, and rows without the people on it."""

    key: PrivacyKey
    actions: Mapping[str, str]  # by hash
    kinds: frozenset[str] = frozenset()
    _known: dict[tuple[str, str], str | None] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, listed: Iterable[Listed], key: PrivacyKey | None) -> "Forgotten | None":
        """Return the list; None if nobody is on it. Raises `WarehouseError` without its key."""
        entries = list(listed)
        if not entries:
            return None
        if key is None:
            raise WarehouseError(
                f"This warehouse has a list of people who asked to be forgotten; set {VARIABLE} to the key that it was "
                "made with, or they would be stored again. Nothing was stored."
            )
        if not any(entry.kind == KEY and entry.keyed_hash == key.check for entry in entries):
            raise WarehouseError(
                f"{VARIABLE} is not the key that this warehouse's list of forgotten people was made with; set that "
                "one. Nothing was stored."
            )
        return cls(
            key, {entry.keyed_hash: entry.action for entry in entries}, frozenset(entry.kind for entry in entries)
        )

    def action(self, kind: str, text: str) -> str | None:
        """Return what becomes of the person that this is of; None if nobody on the list has it."""
        if kind not in self.kinds:
            return None
        asked = (kind, text)
        if asked not in self._known:
            self._known[asked] = self.actions.get(hash_of(self.key, kind, text))
        return self._known[asked]

    def of_id(self, kind: str, value: object) -> str | None:
        return self.action(kind, str(value)) if type(value) is int or (type(value) is str and value.isdigit()) else None

    def of_text(self, text: str) -> str | None:
        """Return what becomes of the person of whom an address or a number, or its hash, is in the text."""
        if text in self.actions:
            return self.actions[text]
        found = [self.action(EMAIL, one) for one in (emails_in(text) if EMAIL in self.kinds else ())]
        found += [self.action(PHONE, one) for one in (phones_in(text) if PHONE in self.kinds else ())]
        return next((action for action in found if action), None)

    def of_address(self, text: str) -> str | None:
        """Return what becomes of the person whose address or number a text is."""
        plain = plain_email(text)
        return (self.actions.get(text) or self.action(EMAIL, plain)) if _AT in plain else self.of_text(text)

    def without(self, entity: str, columns: Sequence[Column], rows: pa.Table) -> tuple[pa.Table, int]:
        """Return typed rows without the people on the list, and the number of rows that had something of them."""
        names = [column.name for column in columns if column.name in rows.column_names]
        names += [EXTRA] * (EXTRA in rows.column_names and EXTRA not in names)
        by_name = {column.name: column for column in columns}
        changed: dict[str, list[Any]] = {}
        touched = 0
        for position, row in enumerate(rows.select(names).to_pylist()):
            new = self._row(entity, by_name, row)
            touched += new is not row
            for name in names if new is not row else ():
                if new[name] != row[name]:
                    changed.setdefault(name, rows[name].to_pylist())[position] = new[name]
        for name, values in changed.items():
            array = pa.array(values, rows.schema.field(name).type)
            rows = rows.set_column(rows.column_names.index(name), name, array)
        return rows, touched

    def _row(self, entity: str, columns: Mapping[str, Column], row: dict[str, Any]) -> dict[str, Any]:
        """Return a row without the people; the row itself if it has nothing of them."""
        parsed = {
            name: _parsed(value) if value is not None and _is_json(columns, name) else value
            for name, value in row.items()
        }
        action = self._owner(entity, parsed)
        eraser = _Eraser(self, action or ERASE, is_own=action is not None)
        if action is None:
            found = [one for name, value in parsed.items() if (one := eraser.shown(value))]
            if not found:
                return self._without_mentions(columns, row, parsed)
            eraser = _Eraser(self, found[0], takes_part=True)
        new = dict(row)
        for name, value in parsed.items():
            if value is None:
                continue
            if name == EXTRA:
                erased = None if eraser.is_own else eraser.erased(value, _UNDECLARED)
            else:
                erased = eraser.erased(value, columns[name].place)
            new[name] = _dumped(erased, value, row[name]) if _is_json(columns, name) else erased
        return new if new != row else row

    def _without_mentions(
        self, columns: Mapping[str, Column], row: dict[str, Any], parsed: dict[str, Any]
    ) -> dict[str, Any]:
        eraser, new = _Eraser(self, ERASE), row
        for name, value in parsed.items():
            place = columns[name].place if name in columns else _UNDECLARED
            erased = value if value is None else eraser.without_mentions(value, place)
            if erased is not value and erased != value:
                new = dict(row) if new is row else new
                new[name] = _dumped(erased, value, row[name]) if _is_json(columns, name) else erased
        return new

    def _owner(self, entity: str, row: Mapping[str, Any]) -> str | None:
        """Return what becomes of the person whose own row this is; None if it is of nobody on the list."""
        asked: list[tuple[str, object]] = [(OBJECTS[entity], row.get("id"))] if entity in OBJECTS else []
        unfit = row.get(EXTRA)
        for name, value in (*row.items(), *(unfit.items() if isinstance(unfit, dict) else ())):
            if kind := kind_of_id(name):
                asked.append((kind, value))
        if row.get("object_type") in OBJECT_TYPES:
            asked.append((OBJECT_TYPES[row["object_type"]], row.get("object_id")))
        found = [self.of_id(kind, value) for kind, value in asked]
        shown = [self.of_person(row.get(name)) for name in _OWNERS]
        own = [self.of_address(row["email"])] if entity == "customers" and isinstance(row.get("email"), str) else []
        return next((action for action in [*found, *shown, *own] if action), None)

    def of_person(self, value: object) -> str | None:
        """Return what becomes of the person whom an object shows; None if that is nobody on the list."""
        if not isinstance(value, dict):
            return None
        is_person = "id" in value and not _PERSON.isdisjoint(value)
        found = [self.of_id(CUSTOMER, value["id"])] if is_person else []
        texts = [value.get(name) for name in ("email", "address", "identifier")]
        found += [self.of_address(text) for text in texts if isinstance(text, str)]
        return next((action for action in found if action), None)


_UNDECLARED = Place(Personal.UNDECLARED)


@dataclass(frozen=True)
class _Eraser:
    """Values of one row, without the person.

    - `is_own`: the row is the person's. `takes_part`: it shows them, and is somebody else's.
    """

    forgotten: Forgotten
    action: str
    is_own: bool = False
    takes_part: bool = False

    def shown(self, value: Any) -> str | None:
        """Return what becomes of the first person on the list whom an object in the value shows."""
        if isinstance(value, dict):
            found = self.forgotten.of_person(value)
            return found or next((one for inner in value.values() if (one := self.shown(inner))), None)
        if isinstance(value, list):
            return next((one for inner in value if (one := self.shown(inner))), None)
        return None

    def erased(self, value: Any, place: Place, is_theirs: bool = False) -> Any:
        """Return what is left of a value. `is_theirs` is set below an object that shows the person."""
        if isinstance(value, dict):
            if action := self.forgotten.of_person(value):
                return _Eraser(self.forgotten, action, self.is_own, self.takes_part)._of_object(value, place, True)
            if not is_theirs and _shows_a_person(value, place):  # somebody else
                return self.without_mentions(value, place)
            return self._of_object(value, place, is_theirs)
        if isinstance(value, list):
            if place.holds is Personal.UNDECLARED and place.items is None and (self.is_own or is_theirs):
                return None
            return [self.erased(inner, place.item, is_theirs) for inner in value]
        return self._of_scalar(value, place.holds, is_theirs)

    def _of_object(self, value: Mapping[str, Any], place: Place, is_theirs: bool) -> Any:
        is_whole = place.holds is Personal.UNDECLARED and not (place.fields or place.ids)
        if is_whole and (self.is_own or is_theirs) and place.items is None:
            return None  # names of fields may be anything, too
        return {
            name: self.erased(inner, place.below(name), is_theirs)
            for name, inner in value.items()
            if not (self.forgotten.of_text(name) or self._is_unknown(name, place, is_theirs))
        }

    def _is_unknown(self, name: str, place: Place, is_theirs: bool) -> bool:
        """Return True for a field that is in no declaration, of the person's own."""
        below = place.below(name)
        return (self.is_own or is_theirs) and below is place.rest and below.holds is Personal.UNDECLARED

    def _of_scalar(self, value: Any, holds: Personal | None, is_theirs: bool) -> Any:
        written = (Personal.BODY, Personal.UNDECLARED)
        if holds is not None and (self.is_own or is_theirs or (self.takes_part and holds in written)):
            return self._instead(value, holds)
        return self.without_mentions(value, Place(holds))

    def _instead(self, value: Any, holds: Personal) -> Any:
        if self.action != HASH or holds not in _HASHED or not isinstance(value, str) or not value:
            return None
        if value in self.forgotten.actions:
            return value
        plain = {Personal.EMAIL: plain_email, Personal.PHONE: plain_phone}.get(holds, plain_name)(value)
        return self.forgotten.key.hashed(plain)

    def without_mentions(self, value: Any, place: Place) -> Any:
        """Return a value without the texts, and the names of fields, that have something of a person in them."""
        of_text = self.forgotten.of_text
        if isinstance(value, dict):
            fields = ((name, inner) for name, inner in value.items() if not of_text(name))
            return {name: self.without_mentions(inner, place.below(name)) for name, inner in fields}
        if isinstance(value, list):
            return [self.without_mentions(inner, place.item) for inner in value]
        if isinstance(value, str):
            action = of_text(value)
            return value if action is None or (action == HASH and value in self.forgotten.actions) else None
        if type(value) in (int, float) and place.holds is not None:
            return None if of_text(f"{value:.0f}") else value
        return value


def _shows_a_person(value: Mapping[str, Any], place: Place) -> bool:
    """Return if an object is declared as that of a customer or an agent, and has an id."""
    named = (place.below(name).holds for name in _PERSON if name in place.fields)
    return "id" in value and any(holds in (Personal.NAME, Personal.EMAIL) for holds in named)


def _is_json(columns: Mapping[str, Column], name: str) -> bool:
    return name == EXTRA or columns[name].kind is Kind.JSON


def _parsed(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _dumped(value: Any, before: Any, text: Any) -> str | None:
    """Return JSON as it is stored; the text that it was read from if nothing differs."""
    if value == before:
        return text if text is None or isinstance(text, str) else json.dumps(text, ensure_ascii=False)
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


Admit = Callable[[Sequence[Listed], pa.Table], pa.Table]
