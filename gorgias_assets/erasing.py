"""Erasing: who a person is in the warehouse, how many rows have something of them, and these rows without them.

Nothing here reads Gorgias. All of it may be killed at any moment and done again: the person is first put on the list of
forgotten people, and whoever is on that list is then erased, as far as anything is left.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gorgias_assets.columns import ADDED_COLUMNS, MERGED_INTO, Column, Kind, Personal, Place
from gorgias_assets.entities.model import Entity
from gorgias_assets.forgetting import (
    CUSTOMER,
    EMAIL,
    KEY,
    OBJECT_TYPES,
    OBJECTS,
    PHONE,
    Forgotten,
    hash_of,
)
from gorgias_assets.privacy import PrivacyKey, plain_email, plain_phone
from gorgias_assets.warehouse.dialect import Dialect
from gorgias_assets.warehouse.session import Session
from gorgias_assets.warehouse.tables import Listed, Table, WarehouseError
from gorgias_assets.warehouse.warehouse import Warehouse

AT_ONCE = 1_000  # rows in memory
MOST_ROUNDS = 10  # from addresses to customers, and back
_SHORTEST_PHONE = 6  # digits
_HASH = re.compile(r"[0-9a-f]{64}")
_AT = r"(@|%40|=40|&#0*64;|&#[xX]0*40;|&commat;|\\u0040|\x{FF20}|\x{FE6B}|\s?[\[(]at[\])]\s?)"
_BETWEEN_DIGITS = r"[\s().\-/]{0,3}"
_PEOPLE = {"tickets": ("customer",), "ticket_messages": ("sender", "receiver")}  # columns that show a person
_KNOWN_BY = (Personal.NAME, Personal.EMAIL)
_CUSTOMER_IDS = ("customer_id", "answered_by_external_customer_id")


@dataclass(frozen=True)
class Target:
    """A table in which people are looked for. `name` is that of its entity; `columns` are those that are looked at."""

    name: str
    table: Table
    columns: Sequence[Column]


@dataclass
class Person:
    """All by which the warehouse knows a person, or several: ids by their kind, and plain addresses and numbers."""

    ids: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    emails: set[str] = field(default_factory=set)
    phones: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    hashes: set[str] = field(default_factory=set)  # of addresses and numbers, where a policy has stored these
    is_hashed: bool = True  # if a policy has stored their hashes, these are looked for, too

    def __bool__(self) -> bool:
        return self.has_texts or any(self.ids.values())

    @property
    def has_texts(self) -> bool:
        return bool(self.emails or self.phones or self.hashes)

    def pattern(self, key: PrivacyKey, is_whole: bool = False) -> str:
        """Return an expression of RE2 for a text with any of the addresses or numbers, or one that is nothing else."""
        forms = [re.escape(one).replace("@", _AT).replace(r"\+", r"(\+|%2B)") for one in sorted(self.emails)]
        forms += [rf"(^|[^0-9])0{{0,2}}{_BETWEEN_DIGITS.join(one)}([^0-9]|$)" for one in sorted(self.phones)]
        if self.is_hashed:
            forms += [key.hashed(one) for one in sorted(self.emails)]
            forms += [key.hashed(one) for one in sorted(self.phones)]
            forms += sorted(self.hashes)
        alternatives = "|".join(forms)
        return rf"(?i)^\s*({alternatives})\s*$" if is_whole else f"(?i)({alternatives})"

    def entries(self, key: PrivacyKey, action: str) -> list[Listed]:
        """Return the person as entries of the list."""
        texts = [(kind, str(one)) for kind, found in self.ids.items() for one in sorted(found)]
        texts += [(EMAIL, one) for one in sorted(self.emails)] + [(PHONE, one) for one in sorted(self.phones)]
        return [
            Listed(KEY, key.check, action),
            *(Listed(kind, hash_of(key, kind, text), action) for kind, text in texts),
        ]


@dataclass
class Finder:
    """Looks for people in the tables of an account.

    - `targets`: its tables that there are.
    - `shop`: the shop's own addresses, which are nobody's.
    """

    warehouse: Warehouse
    schema: str
    targets: Sequence[Target]
    key: PrivacyKey
    shop: frozenset[str] = frozenset()
    _session: Session | None = None

    @classmethod
    def of(
        cls, warehouse: Warehouse, tables: Mapping[str, Table], entities: Iterable[Entity[Any]], key: PrivacyKey
    ) -> "Finder":
        """Return the finder for tables of entities, and of metrics, by their names."""
        columns = {entity.name: entity.columns for entity in entities}
        targets: list[Target] = []
        schema = next(iter(tables.values())).schema
        finder = cls(warehouse, schema, targets, key)
        with finder.reading() as session:
            for name, table in tables.items():
                there = session.columns_of(table)
                if name in columns and "id" in there:
                    targets.append(Target(name, table, [column for column in columns[name] if column.name in there]))
                elif any(one.startswith("field_") for one in there):  # of metrics, the custom fields of a ticket
                    values = [Column(one, Kind.STRING, "", Personal.BODY) for one in there if one.startswith("field_")]
                    targets.append(Target("tickets", table, [Column("id", Kind.INTEGER, ""), *values]))
            finder.shop = frozenset(map(plain_email, finder._texts("integrations", {"meta": "address"})))
        return finder

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a session for queries, the same one while it is open. Nothing can be written to a file meanwhile."""
        if self._session:
            yield self._session
            return
        with self.warehouse.reading(self.schema) as session:
            self._session = session
            try:
                yield session
            finally:
                self._session = None

    def find(self, given: str) -> Person:
        """Return the person with an e-mail address, or the customer of an id; an empty one if there is nobody.

        Raises `WarehouseError` on an agent, or an address of the shop.
        """
        person = Person()
        if given.isdigit():
            self._refuse_agents("id", int(given))
            person.ids[CUSTOMER].add(int(given))
            if not self._is_known(int(given)):
                return Person()
        else:
            person.emails.add(plain_email(given))
            if person.emails & (self.shop | set(map(plain_email, self._texts("users", {"email": ""})))):
                raise WarehouseError("This address is an agent's or the shop's own, and no customer's.")
        found = self.completed(person)
        return found if found.ids[CUSTOMER] or self.count(found) else Person()

    def completed(self, person: Person) -> Person:
        """Return a person with all else by which the same customers are known."""
        for _ in range(MOST_ROUNDS):
            before = (len(person.ids[CUSTOMER]), len(person.emails), len(person.hashes))
            person.ids[CUSTOMER] |= self._customers_of(person)
            self._add_addresses(person)
            if (len(person.ids[CUSTOMER]), len(person.emails), len(person.hashes)) == before:
                break
        self._add_objects(person)
        return person

    def count(self, person: Person) -> dict[Table, int]:
        """Return the number of rows of each table that have something of the person; only those that have some."""
        found = {}
        for target in self.targets:
            with self._condition(target, person) as (session, condition):
                rows = session.rows_of(target.table)
                ((number,),) = session.execute(f"SELECT COUNT(*) FROM {rows} AS stored WHERE {condition}")
                if number:
                    found[target.table] = int(number)
        return found

    def listed(self, forgotten: Forgotten) -> Person:
        """Return all people on the list, as far as something is stored of them."""
        person = Person()
        for target in self.targets:
            if target.name in OBJECTS:
                kind = OBJECTS[target.name]
                person.ids[kind] |= {one for one in self._ids(target, "id") if forgotten.of_id(kind, one)}
            places = [(column.name, "") for column in target.columns if column.name in _CUSTOMER_IDS]
            places += [(name, "id") for name in _PEOPLE.get(target.name, ())]
            for name, path in places:
                found = self._ids(target, name, path)
                person.ids[CUSTOMER] |= {one for one in found if forgotten.of_id(CUSTOMER, one)}
        addresses = {*self._texts("customers", {"email": ""})}
        for entity, columns in _PEOPLE.items():
            addresses |= {*self._texts(entity, dict.fromkeys(columns, "email"))}
        person.emails = {plain_email(one) for one in addresses if forgotten.action(EMAIL, plain_email(one))}
        return self.completed(person) if person else person

    def erase(self, forgotten: Forgotten, person: Person) -> dict[Table, int]:
        """Erase the people on the list from all rows that have something of `person`; count the rows that changed."""
        changed: dict[Table, int] = {}
        with self.reading():
            found = [(target, self._rows_of(target, person)) for target in self.targets]
        for target, ids in found:
            for start in range(0, len(ids), AT_ONCE):
                rows = self._erase(target, forgotten, ids[start : start + AT_ONCE])
                if rows:
                    changed[target.table] = changed.get(target.table, 0) + rows
        return changed

    def elsewhere(self, person: Person, ours: Collection[Table]) -> dict[Table, int]:
        """Return the number of rows in somebody's own tables of the schema in which an address or a number is."""
        if not person.has_texts:
            return {}
        return self.warehouse.search_others(self.schema, person.pattern(self.key), {table.name for table in ours})

    def _erase(self, target: Target, forgotten: Forgotten, ids: Sequence[int]) -> int:
        names = [column.name for column in (*target.columns, *ADDED_COLUMNS)]
        rows = self.warehouse.rows_by_id(target.table, names, ids)
        left, changed = forgotten.without(target.name, target.columns, rows)
        if changed:
            self.warehouse.update(target.table, left)
        return changed

    def _rows_of(self, target: Target, person: Person) -> list[int]:
        with self._condition(target, person) as (session, condition):
            rows = session.rows_of(target.table)
            found = session.execute(f"SELECT DISTINCT id FROM {rows} AS stored WHERE id IS NOT NULL AND ({condition})")
        return sorted(int(row_id) for (row_id,) in found)

    @contextmanager
    def _condition(self, target: Target, person: Person, with_texts: bool = True) -> Iterator[tuple[Session, str]]:
        """Yield a session, and the condition that a row has something of the person."""
        dialect = self.warehouse.dialect
        with self.reading() as session, ExitStack() as stack:

            def among(expression: str, kind: str) -> list[str]:
                ids = person.ids.get(kind)
                return [stack.enter_context(session.naming(ids))(expression)] if ids else []

            terms = []
            for expression, kind in _ids_in(dialect, target):
                terms += among(expression, kind)
            if {"object_type", "object_id"} <= {column.name for column in target.columns}:
                for object_type, kind in OBJECT_TYPES.items():
                    terms += [
                        f"(object_type = {dialect.literal(object_type)} AND {one})" for one in among("object_id", kind)
                    ]
            if with_texts and person.has_texts:
                text = stack.enter_context(session.confidential(person.pattern(self.key)))
                terms += [dialect.matches(one, text) for one in _texts_in(dialect, target)]
            yield session, " OR ".join(terms) or "FALSE"

    def _target(self, name: str) -> Target | None:
        return next((target for target in self.targets if target.name == name), None)

    def _refuse_agents(self, column: str, row_id: int) -> None:
        target = self._target("users")
        if target and row_id in self._ids(target, column):
            raise WarehouseError("This id is an agent's, and no customer's.")

    def _is_known(self, customer: int) -> bool:
        return bool(self.count(Person(defaultdict(set, {CUSTOMER: {customer}}))))

    def _ids(self, target: Target, name: str, path: str = "") -> set[int]:
        """Return the different ids in a column, or at a path of JSON."""
        dialect = self.warehouse.dialect
        value = dialect.quoted(name)
        value = dialect.typed(dialect.text_at(value, path), Kind.INTEGER) if path else value
        return {int(one) for one in self._values(target, value)}

    def _texts(self, name: str, paths: Mapping[str, str]) -> list[str]:
        """Return the different texts in columns of an entity, or at paths of JSON."""
        target, dialect = self._target(name), self.warehouse.dialect
        if target is None:
            return []
        there = {column.name: column for column in target.columns}
        found: list[str] = []
        for column, path in paths.items():
            if column in there:
                value = dialect.quoted(column)
                found += self._values(target, dialect.text_at(value, path) if path else value)
        return [one for one in found if isinstance(one, str)]

    def _values(self, target: Target, expression: str) -> list[Any]:
        with self.reading() as session:
            rows = session.rows_of(target.table)
            query = f"SELECT DISTINCT {expression} AS found FROM {rows} AS stored WHERE {expression} IS NOT NULL"
            return [one for (one,) in session.execute(query)]

    def _customers_of(self, person: Person) -> set[int]:
        """Return the customers with an address of the person's, and those that they were merged with."""
        found: set[int] = set(person.ids[CUSTOMER])
        dialect = self.warehouse.dialect
        pattern = person.pattern(self.key, is_whole=True)
        if person.has_texts and (target := self._target("customers")):
            found |= self._selected(target, "id", partial(dialect.matches, dialect.quoted("email")), pattern)
        for target, column in self._shown_people() if person.has_texts else ():
            value = dialect.quoted(column)
            key, email = dialect.text_at(value, "id"), dialect.text_at(value, "email")
            found |= self._selected(target, dialect.typed(key, Kind.INTEGER), partial(dialect.matches, email), pattern)
        if found and (target := self._target("customers")):
            with self._naming(found) as (session, among):
                rows = session.rows_of(target.table)
                ends = session.execute(
                    f"SELECT id, {MERGED_INTO} FROM {rows} AS stored "
                    f"WHERE {MERGED_INTO} IS NOT NULL AND ({among('id')} OR {among(MERGED_INTO)})"
                )
            found |= {int(one) for both in ends for one in both}
        return found

    def _shown_people(self) -> Iterator[tuple[Target, str]]:
        """Yield the columns that show the person whose row it is, each with its table."""
        for name, columns in _PEOPLE.items():
            if target := self._target(name):
                yield from ((target, column) for column in columns)

    def _selected(self, target: Target, value: str, condition: Callable[[str], str], pattern: str) -> set[int]:
        with self.reading() as session, session.confidential(pattern) as text:
            rows = session.rows_of(target.table)
            found = session.execute(f"SELECT DISTINCT {value} FROM {rows} AS stored WHERE {condition(text)}")
        return {int(one) for (one,) in found if one is not None}

    def _add_addresses(self, person: Person) -> None:
        """Add the addresses, numbers and names with which these customers were seen."""
        dialect, customers = self.warehouse.dialect, person.ids[CUSTOMER]
        if not customers:
            return
        for email, name in self._of_customers("customers", "id", ("email", "name"), customers):
            self._add(person, email, name)
        for target, column in self._shown_people():
            key, *values = (dialect.text_at(dialect.quoted(column), path) for path in ("id", "email", "name"))
            key = dialect.typed(key, Kind.INTEGER)
            for email, name in self._of_customers(target.name, key, values, customers, is_sql=True):
                self._add(person, email, name)
        source = dialect.text_at(dialect.quoted("source"), "from.address")
        sender = dialect.typed(dialect.text_at(dialect.quoted("sender"), "id"), Kind.INTEGER)
        for (address,) in self._of_customers("ticket_messages", sender, (source,), customers, is_sql=True):
            self._add(person, address)
        calls = ("phone_number_source", "phone_number_destination", "direction")
        for caller, called, direction in self._of_customers("voice_calls", "customer_id", calls, customers):
            self._add(person, called if direction == "outbound" else caller)

    def _add(self, person: Person, address: str | None, name: str | None = None) -> None:
        if name and name.strip():
            person.names.add(name.strip())
        plain = plain_email(address or "")
        if _HASH.fullmatch(plain):
            person.hashes.add(plain)
        elif "@" in plain and plain not in self.shop:
            person.emails.add(plain)
        elif len(number := plain_phone(address or "")) >= _SHORTEST_PHONE and not re.search("[a-z]", plain):
            person.phones.add(number)

    def _of_customers(
        self, name: str, key: str, values: Sequence[str], customers: Collection[int], is_sql: bool = False
    ) -> list[tuple[Any, ...]]:
        target = self._target(name)
        if target is None:
            return []
        quoted = self.warehouse.dialect.quoted
        selected = ", ".join(values if is_sql else map(quoted, values))
        with self._naming(customers) as (session, among):
            rows = session.rows_of(target.table)
            expression = key if is_sql else quoted(key)
            return session.execute(f"SELECT DISTINCT {selected} FROM {rows} AS stored WHERE {among(expression)}")

    @contextmanager
    def _naming(self, ids: Collection[int]) -> Iterator[tuple[Session, Callable[[str], str]]]:
        with self.reading() as session, session.naming(ids) as among:
            yield session, among

    def _add_objects(self, person: Person) -> None:
        """Add the ids of the person's tickets, messages, surveys and calls."""
        for name, kind in [(name, kind) for name, kind in OBJECTS.items() if kind != CUSTOMER]:
            if target := self._target(name):
                with self._condition(target, person, with_texts=False) as (session, condition):
                    rows = session.rows_of(target.table)
                    found = session.execute(
                        f"SELECT DISTINCT id FROM {rows} AS stored WHERE id IS NOT NULL AND ({condition})"
                    )
                person.ids[kind] |= {int(row_id) for (row_id,) in found}


def _ids_in(dialect: Dialect, target: Target) -> Iterator[tuple[str, str]]:
    """Yield the expressions of a table's ids, each with its kind."""
    if target.name in OBJECTS:
        yield "id", OBJECTS[target.name]
    for column in target.columns:
        if column.name == "customer_id" or column.name.endswith("_customer_id"):
            yield dialect.quoted(column.name), CUSTOMER
        elif column.name in ("ticket_id", "call_id"):
            yield dialect.quoted(column.name), column.name.removesuffix("_id")
        elif column.kind is Kind.JSON:
            for path in _paths_of_people(column.place):
                yield dialect.typed(dialect.text_at(dialect.quoted(column.name), path), Kind.INTEGER), CUSTOMER


def _paths_of_people(place: Place, before: str = "") -> Iterator[str]:
    """Yield the paths of the ids of customers or agents in JSON, without those in lists."""
    if "id" in place.fields and any(place.fields[name].holds in _KNOWN_BY for name in place.fields):
        yield f"{before}id"
    for name, inner in place.fields.items():
        yield from _paths_of_people(inner, f"{before}{name}.")


def _texts_in(dialect: Dialect, target: Target) -> Iterator[str]:
    """Yield the expressions of all texts of a table, JSON and undeclared fields among them."""
    for column in (*target.columns, *ADDED_COLUMNS):
        if column.kind is Kind.STRING:
            yield dialect.quoted(column.name)
        elif column.kind is Kind.JSON:
            yield dialect.text_at(dialect.quoted(column.name), "")
