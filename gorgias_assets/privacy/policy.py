"""The privacy policy: what becomes of each kind of personal data, before anything is written.

Rows pass the `Screen` as they are typed. Behind it, in the warehouse, in staging, in previews and in logs, there is
only what is left. A hash is an HMAC with a secret of the user's: the same value has the same one in each table, so that
tables are joined by it. Values are hashed as `plain_email` and its like return them, so that spelling does not matter.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256
from typing import Any

from gorgias_assets.api.parsing import dumps
from gorgias_assets.columns import Column, Kind, Personal, Place, is_id

Row = dict[str, Any]

VARIABLE = "GORGIAS_PRIVACY_KEY"
SHORTEST_KEY = 16  # letters: a shorter one could be guessed, and with it every address

_AT = "@"
_IN_BRACKETS = re.compile(r"<([^<>]*@[^<>]*)>")
_PHONE = re.compile(r"(?:tel:|sms:|whatsapp:)?\s*[+(]?\d[\d\s().\-/\u00a0\u2010-\u2015]{4,24}", re.IGNORECASE)
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_PUNYCODE = re.compile(r"xn--[a-z0-9-]+")
_ALIKE = (Personal.NAME, Personal.EMAIL, Personal.PHONE)  # one may stand in the place of another
_BLOCK = 64  # bytes of SHA-256
_LAST = 4
_SHORTEST_FOR_LAST = 8  # letters: of a shorter text the last four show too much
_HASHED = re.compile(r"[0-9a-f]{64}")
_MOST_SEEN, _LONGEST_SEEN = 5_000, 2_000  # values of a JSON column, and letters of one
_MOST_REMEMBERED, _LONGEST_REMEMBERED = 50_000, 200  # texts of a kind, and letters of one


class Action(IntEnum):
    """An action on a value, from the mildest to the strictest."""

    KEEP = 0
    LAST4 = 1
    HASH = 2
    DROP = 3


def visible(text: str) -> str:
    """Return a text with letters in their usual width, and without signs that nobody sees."""
    return text if text.isascii() else unicodedata.normalize("NFKC", _UNSEEN.sub("", text))


def plain_email(text: str) -> str:
    """Return an address as it is hashed, without the name before it."""
    text = visible(text)
    bracketed = _IN_BRACKETS.search(text)
    plain = (bracketed[1] if bracketed else text).strip().casefold()
    plain = plain.removeprefix("mailto:").rstrip(".")
    return _PUNYCODE.sub(_decoded, plain) if "xn--" in plain else plain


def _decoded(label: re.Match[str]) -> str:
    try:
        return label[0].encode("ascii").decode("idna").casefold()
    except UnicodeError:
        return label[0]


def punycode(domain: str) -> str:
    """Return a domain in ASCII; as it is if it cannot be."""
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError:
        return domain


def plain_phone(text: str) -> str:
    """Return a number as it is hashed: its digits, without the zeros or the plus before a country's."""
    return "".join(filter(str.isdigit, unicodedata.normalize("NFKC", text))).lstrip("0")


def plain_name(text: str) -> str:
    """Return a name as it is hashed: in small letters, with single blanks."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


_PLAIN: Mapping[Personal, Callable[[str], str]] = {
    Personal.EMAIL: plain_email,
    Personal.PHONE: plain_phone,
    Personal.NAME: plain_name,
    Personal.ADDRESS: plain_name,
    Personal.IP: plain_email,
}


class PrivacyError(ValueError):
    """A policy cannot be kept; the message says what to set, in a sentence without a secret."""


class PrivacyKey:
    """The secret by which hashes are made: HMAC-SHA256. It is in no representation."""

    def __init__(self, secret: str, variable: str = VARIABLE) -> None:
        if len(secret) < SHORTEST_KEY:
            raise ValueError(f"{variable} must have {SHORTEST_KEY} letters or more, such as `openssl rand -hex 32`.")
        key = secret.encode()
        padded = (key if len(key) <= _BLOCK else sha256(key).digest()).ljust(_BLOCK, b"\0")
        # HMAC by its definition, with the part of the key done once: twice as fast as `hmac.digest`.
        self._inner = sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in padded))

    def __repr__(self) -> str:
        return "PrivacyKey()"

    def hashed(self, plain: str) -> str:
        """Return the hash of a plain text."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(plain.encode("utf-8", "surrogatepass"))
        outer.update(inner.digest())
        return outer.hexdigest()

    @property
    def check(self) -> str:
        """A hash by which another key is noticed."""
        return self.hashed("key:check")


@dataclass(frozen=True)
class Policy:
    """The action for each kind of personal data. Kinds that it does not name are kept, but what is undeclared.

    - `exceptions`: other actions for all that is declared in a column, by `<entity>.<column>`.
    """

    actions: Mapping[Personal, Action]
    exceptions: Mapping[str, Action] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Mapping[str, str]) -> "Policy | None":
        """Return the policy of a setting; None for an empty one. Raises ValueError on a word that is none of it."""
        if not given:
            return None
        actions = {str(what): Action[str(action).upper()] for what, action in given.items()}
        exceptions = {what: action for what, action in actions.items() if "." in what}
        of_kinds = {Personal(what): action for what, action in actions.items() if what not in exceptions}
        if of_kinds.get(Personal.UNDECLARED) is Action.LAST4:
            raise ValueError
        return cls(of_kinds, exceptions)

    @property
    def needs_key(self) -> bool:
        return Action.HASH in (*self.actions.values(), *self.exceptions.values())

    def of_column(self, name: str) -> "Policy | None":
        """Return the policy of a column that is an exception; None if it is none."""
        action = self.exceptions.get(name)
        if action is None:
            return None
        undeclared = {Personal.UNDECLARED: self.action(Personal.UNDECLARED)}
        return Policy(dict.fromkeys(Personal, action) | undeclared)

    def action(self, kind: Personal | None) -> Action:
        if kind is None:
            return Action.KEEP
        return self.actions.get(kind, Action.DROP if kind is Personal.UNDECLARED else Action.KEEP)

    def mark(self, key: PrivacyKey | None) -> str:
        """Return a text by which another policy, or another key, is noticed. It shows neither."""
        actions = sorted((kind.value, self.action(kind).name) for kind in Personal)
        hashed = key.check if key and self.needs_key else ""
        exceptions = sorted((name, action.name) for name, action in self.exceptions.items())
        return sha256(json.dumps([actions, exceptions, hashed]).encode()).hexdigest()[:16]


def key_of(policy: Policy, secret: str, variable: str = VARIABLE) -> PrivacyKey | None:
    """Return the key for a policy; None if it hashes nothing. Raises `PrivacyError` if it needs another one."""
    if not policy.needs_key:
        return None
    if not secret.strip():
        hashed = ", ".join(kind.value for kind in Personal if policy.action(kind) is Action.HASH)
        raise PrivacyError(
            f"The setting privacy hashes {hashed}; set {variable} to a secret of {SHORTEST_KEY} letters or more, such "
            "as `openssl rand -hex 32`, and keep it. Nothing was read."
        )
    try:
        return PrivacyKey(secret.strip(), variable)
    except ValueError as error:
        raise PrivacyError(str(error)) from None


def parsed(text: object) -> object:
    """Return `email:hash,body:drop` as a mapping; anything else as it is. Raises ValueError if a colon lacks."""
    if not isinstance(text, str):
        return text
    pairs = [part.split(":") for part in text.split(",") if part.strip()]
    if not all(len(pair) == 2 for pair in pairs) or len({kind.strip() for kind, _ in pairs}) < len(pairs):
        raise ValueError
    return {kind.strip(): action.strip() for kind, action in pairs}


_Act = Callable[[str], str | None]


@dataclass(eq=False)
class _Plan:
    """The actions on the values at a place, and below it.

    - `kept`: True if all of it is kept as it is.
    - `whole`: True if an object or a list here is one value: it is dropped or hashed as a whole.
    - `removed`: True if the field or the item goes with its value, since its name may be anything.
    - `act`: returns what is left of a text.
    - `reduced`: the declared fields of which not all is kept.
    - `seen`: JSON seen at this place, and what was left of it: people come again.
    """

    action: Action
    act: _Act
    kept: bool = False
    whole: bool = False
    removed: bool = False
    fields: dict[str, "_Plan"] = field(default_factory=dict)
    reduced: list[tuple[str, "_Plan"]] = field(default_factory=list)
    seen: dict[str, "Written | None"] = field(default_factory=dict)
    ids: "_Plan | None" = None
    items: "_Plan | None" = None
    rest: "_Plan | None" = None

    def below(self, name: str) -> "_Plan":
        return self.fields.get(name) or (self.ids if self.ids and is_id(name) else None) or self.rest or self


class Written(str):
    """JSON that is written already."""

    __slots__ = ()


class _Gone:
    """In the place of a value that is removed with its name."""


_GONE = _Gone()


class Screen:
    """All rows of an account pass it before they are typed.

    - `stored`: they come from a table, so that hashes and ends of numbers among them are left as they are.
    - `entity`: the name of the entity whose rows they are, for the policy's exceptions.
    """

    def __init__(
        self, policy: Policy, key: PrivacyKey | None = None, *, stored: bool = False, entity: str = ""
    ) -> None:
        self.policy = policy
        self._entity = entity
        self.key = key
        self._stored = stored
        self._plans: dict[int, tuple[Sequence[Column], list[tuple[str, Kind, _Plan]]]] = {}
        self._hash: Callable[[str], Any] = self._hashing(_as_it_is) if key else _nothing
        self._acts = {kind: self._act(kind) for kind in Personal}

    @property
    def mark(self) -> str:
        return self.policy.mark(self.key)

    def of(self, entity: str, *, stored: bool = False) -> "Screen":
        """Return the screen for the rows of an entity, or for those that are stored already."""
        return Screen(self.policy, self.key, stored=stored, entity=entity)

    def names(self, columns: Sequence[Column]) -> list[str]:
        """Return the names of those of the columns of which not all is kept."""
        return [name for name, *_ in self._of(columns)]

    def apply(
        self, columns: Sequence[Column], rows: Sequence[Row], withheld: Counter[str] | None = None
    ) -> Sequence[Row]:
        """Return what is left of the rows' declared columns, and count those of which something undeclared is lost.

        A value that its column cannot hold is left as it is, for `beyond`.
        """
        plans = self._of(columns)
        withheld = Counter() if withheld is None else withheld
        if not plans:
            return rows
        rows, lost = [dict(row) for row in rows], list[str]()
        for name, kind, plan in plans:
            act, is_json = plan.act, kind is Kind.JSON
            for row in rows:
                value = row.get(name)
                if value is None:
                    continue
                if is_json:
                    row[name] = self._json(value, plan, lost)
                    if lost:
                        withheld[name] += 1
                        lost.clear()
                elif kind is Kind.STRING and isinstance(value, str):
                    row[name] = act(value)
        return rows

    def _json(self, value: Any, plan: _Plan, lost: list[str]) -> Any:
        """Return what is left of a JSON column's value, written or not."""
        text, is_same = ("", False) if self._stored else dumps(value)
        if text in plan.seen:
            return plan.seen[text]
        left = self._left(value, plan, lost)
        left = None if left is _GONE else left
        if not is_same or lost or len(text) > _LONGEST_SEEN:
            return left
        if len(plan.seen) >= _MOST_SEEN:
            plan.seen.clear()
        plan.seen[text] = written = None if left is None else Written(dumps(left)[0])
        return written

    def beyond(self, columns: Mapping[str, Column], extra: Row) -> Row:
        """Return what is left of a row's fields that no column holds."""
        left = {}
        for name, value in extra.items():
            column = columns.get(name)
            action = max(self.policy.action(Personal.UNDECLARED), self._strictest(column))
            if action is Action.KEEP or value is None:
                left[name] = value
            elif action is Action.HASH:
                left[name] = self._hashed_whole(value)
        return left

    def _of(self, columns: Sequence[Column]) -> list[tuple[str, Kind, _Plan]]:
        """Return the plans of those of the columns of which not all is kept."""
        known = self._plans.get(id(columns))
        if known is None or known[0] is not columns:
            plans = [(column.name, column.kind, self._for(column)._plan(column.place)) for column in columns]
            known = columns, [(name, kind, plan) for name, kind, plan in plans if not plan.kept]
            self._plans[id(columns)] = known
        return known[1]

    def _for(self, column: Column) -> "Screen":
        """Return the screen for a column: this one, or that of an exception."""
        policy = self.policy.of_column(f"{self._entity}.{column.name}")
        return Screen(policy, self.key, stored=self._stored) if policy else self

    def _strictest(self, column: Column | None) -> Action:
        """Return the strictest action for what a column holds."""
        kinds = [kind for kind in column.paths if kind is not Personal.UNDECLARED] if column else []
        return max(map(self._for(column)._action, kinds), default=Action.KEEP) if column else Action.KEEP

    def _action(self, kind: Personal | None) -> Action:
        """Return the strictest action for what a place holds: an address may be a number, and a name may be either."""
        if kind in _ALIKE:
            return max(map(self.policy.action, _ALIKE))
        return self.policy.action(kind)

    def _plan(self, place: Place, least: Action = Action.KEEP) -> _Plan:
        """Return the plan of a place, which is at least as strict as `least` if it is undeclared."""
        is_undeclared = place.holds is Personal.UNDECLARED
        action = max(self._action(place.holds), least if is_undeclared else Action.KEEP)
        plan = _Plan(action, self._acts[place.holds] if place.holds else _as_it_is)
        has_paths = place.fields or place.ids or place.items
        is_end = not has_paths and (place.rest is None or place.rest.holds is place.holds)
        if is_end:
            plan.kept = action is Action.KEEP
            plan.whole = not plan.kept
            plan.removed = is_undeclared and not plan.kept
            if is_undeclared and action is Action.LAST4:
                plan.action = Action.DROP
            return plan
        plan.removed = is_undeclared and action is not Action.KEEP
        inner = Action.KEEP if is_undeclared else action
        plan.fields = {name: self._plan(one) for name, one in place.fields.items()}
        plan.reduced = [(name, one) for name, one in plan.fields.items() if not one.kept]
        plan.ids = self._plan(place.ids) if place.ids else None
        plan.items = self._plan(place.items) if place.items else None
        plan.rest = self._plan(place.rest, inner) if place.rest else None
        parts = [*plan.fields.values(), plan.ids, plan.items, plan.rest]
        plan.kept = action is Action.KEEP and all(part.kept for part in parts if part)
        return plan

    def _left(self, value: Any, plan: _Plan, lost: list[str]) -> Any:
        """Return what is left of a value of JSON; `lost` gets an item for all that is undeclared and is not."""
        if value is None or plan.kept:
            return value
        if isinstance(value, dict):
            return self._whole(value, plan, lost) if plan.whole else self._object(value, plan, lost)
        if isinstance(value, list):
            if plan.whole:
                return self._whole(value, plan, lost)
            item = plan.items or plan.rest or plan
            return [left for inner in value if (left := self._left(inner, item, lost)) is not _GONE]
        if plan.removed:
            return self._whole(value, plan, lost)
        return value if type(value) is bool and plan.action is not Action.DROP else plan.act(_text(value, plan))

    def _object(self, value: Row, plan: _Plan, lost: list[str]) -> Row:
        if value.keys() <= plan.fields.keys():  # nothing undeclared, as nearly always: only what is reduced is touched
            if not plan.reduced:
                return value
            left = dict(value)
            for name, below in plan.reduced:
                inner = left.get(name)
                if type(inner) is str and not below.removed:
                    left[name] = below.act(inner)
                elif inner is not None:
                    kept = self._left(inner, below, lost)
                    left[name] = None if kept is _GONE else kept
            return left
        left = {}
        for name, inner in value.items():
            below = plan.below(name)
            if below.removed and name not in plan.fields:
                self._remove(left, name, inner, below, lost)
            else:
                kept = self._left(inner, below, lost)
                left[name] = None if kept is _GONE else kept
        return left

    def _remove(self, left: Row, name: str, value: Any, plan: _Plan, lost: list[str]) -> None:
        """Put what is left of a field of an undeclared value, whose name may be anything, too."""
        if plan.whole:
            if plan.action is Action.HASH:
                left[self._hash(name)] = value if value is None else self._hashed_whole(value)
            elif value is not None:
                lost.append(name)
        elif (kept := self._left(value, plan, lost)) is not _GONE:  # something below it is declared
            left[name] = kept

    def _whole(self, value: Any, plan: _Plan, lost: list[str]) -> Any:
        if plan.action is Action.HASH:
            return self._hashed_whole(value)
        if plan.removed:
            lost.append("")
        return _GONE if plan.removed else None

    def _act(self, kind: Personal) -> _Act:
        """Return a function that returns what is left of a text of a kind."""
        act = self._alone(kind)
        if kind not in _ALIKE:
            return _remembering(act) if kind in _PLAIN else act
        of_email, of_phone = self._alone(Personal.EMAIL), self._alone(Personal.PHONE)
        if kind is Personal.NAME:
            of_email = of_email if self.policy.action(Personal.EMAIL) >= self.policy.action(kind) else act
            of_phone = of_phone if self.policy.action(Personal.PHONE) >= self.policy.action(kind) else act
            return _remembering(
                lambda text: of_email(text) if _AT in text else of_phone(text) if _is_phone(text) else act(text)
            )
        without_name = _as_it_is if self.policy.action(Personal.NAME) is Action.KEEP else _in_brackets
        if kind is Personal.EMAIL:
            return _remembering(lambda text: of_phone(text) if _is_phone(text) else act(without_name(text)))
        return _remembering(lambda text: of_email(without_name(text)) if _AT in text else act(text))

    def _alone(self, kind: Personal) -> _Act:
        match self.policy.action(kind):
            case Action.KEEP:
                return _as_it_is
            case Action.DROP:
                return _nothing
            case Action.LAST4:
                return self._last
            case _:
                return self._hashing(_PLAIN.get(kind, _as_it_is))

    def _last(self, text: str) -> str | None:
        """Return the last four letters of a text, or of a number's digits; None if they are too much of it."""
        if self._stored and (len(text) <= _LAST or _HASHED.fullmatch(text)):
            return text if len(text) <= _LAST else None
        letters = plain_phone(text) if _PHONE.fullmatch(text) else text
        return letters[-_LAST:] if len(letters) >= _SHORTEST_FOR_LAST else None

    def _hashing(self, plain: Callable[[str], str]) -> _Act:
        """Return a function that returns the hash of a text, which `plain` brings into one spelling."""
        if self.key is None:
            raise PrivacyError("The policy hashes values, and there is no key.")
        hashed, is_stored = self.key.hashed, self._stored

        def act(text: str) -> str:
            return text if not text or (is_stored and _HASHED.fullmatch(text)) else hashed(plain(text))

        return act

    def _hashed_whole(self, value: Any) -> Any:
        return self._hash(value if isinstance(value, str) else dumps(value)[0])


def _as_it_is(text: str) -> str:
    return text


def _in_brackets(text: str) -> str:
    """Return an address without the name before it."""
    return found[1] if (found := _IN_BRACKETS.search(text)) else text


def _nothing(text: str) -> None:  # noqa: ARG001, for what is dropped whatever it is
    return None


def _is_phone(text: str) -> bool:
    return _AT not in text and _PHONE.fullmatch(text) is not None


def _remembering(act: _Act) -> _Act:
    """Return the function with a memory of short texts: people come again."""
    known: dict[str, str | None] = {}

    def remembered(text: str) -> str | None:
        try:
            return known[text]
        except KeyError:
            made = act(text)
        if len(text) <= _LONGEST_REMEMBERED:
            if len(known) >= _MOST_REMEMBERED:
                known.clear()
            known[text] = made
        return made

    return remembered


def _text(value: Any, plan: _Plan) -> Any:
    """Return a text, or a number as one if it is not kept."""
    return value if isinstance(value, str) or plan.act is _as_it_is else str(value)
