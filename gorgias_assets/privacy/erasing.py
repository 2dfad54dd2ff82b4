"""Erasing: who a person is in the warehouse, how many rows have something of them, and these rows without them.

Nothing here reads Gorgias. All of it may be killed at any moment and done again: the person is first put on the list of
forgotten people, and whoever is on that list is then erased, as far as anything is left.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from gorgias_assets.columns import ADDED_COLUMNS, EXTRA, MERGED_INTO, Column, Kind, Personal, Place, is_id
from gorgias_assets.entities.model import Entity
from gorgias_assets.privacy.forgetting import (
    CUSTOMER,
    EMAIL,
    ERASE,
    KEY,
    OBJECT_TYPES,
    OBJECTS,
    PHONE,
    SHORTEST_PHONE,
    Forgotten,
    at_home,
    email_pattern,
    emails_in,
    hash_of,
    kind_of_id,
    phone_pattern,
)
from gorgias_assets.privacy.policy import PrivacyKey, plain_email, plain_phone
from gorgias_assets.warehouse.dialect import Dialect
from gorgias_assets.warehouse.session import Session
from gorgias_assets.warehouse.tables import Listed, Table, WarehouseError
from gorgias_assets.warehouse.warehouse import Warehouse

AT_ONCE = 1_000  # rows in memory
MOST_IN_PATTERN = 50  # addresses, of which a longer expression would be slow
MOST_ROUNDS = 10  # from addresses to customers, and back
_HASH = re.compile(r"[0-9a-f]{64}")
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

    @property
    def numbers(self) -> set[str]:
        """The phone numbers, also as they are written at home."""
        return self.phones.union(*map(at_home, self.phones))

    def pattern(self, key: PrivacyKey) -> str:
        """Return an expression of RE2 for texts that may have any of the addresses or numbers; some have others."""
        forms = [*map(email_pattern, sorted(self.emails)), *map(phone_pattern, sorted(self.phones))]
        if self.is_hashed:
            forms += [key.hashed(one) for one in sorted(self.emails | self.phones)]
            forms += sorted(self.hashes)
        return f"(?i)({'|'.join(forms)})"

    def parts(self) -> Iterator["Person"]:
        """Yield persons with some of the addresses and numbers: an expression of all may be too long."""
        for start in range(0, max(len(self.emails), len(self.phones), 1), MOST_IN_PATTERN):
            some = slice(start, start + MOST_IN_PATTERN)
            emails, phones = (set(sorted(texts)[some]) for texts in (self.emails, self.phones))
            yield Person(emails=emails, phones=phones, hashes=set() if start else self.hashes, is_hashed=self.is_hashed)

    def known_by(self, forgotten: Forgotten, person: "Person", is_pending: bool) -> "Person":
        """Return these people by their ids, with only those texts that are `person`'s, or are not on the list.

        All of them if a command was interrupted (`is_pending`), which may not have come to search for them.
        """
        new_emails = {one for one in self.emails if is_pending or not forgotten.action(EMAIL, one)}
        new_phones = {one for one in self.phones if is_pending or not forgotten.action(PHONE, one)}
        ids = {kind: self.ids[kind] | person.ids[kind] for kind in {*self.ids, *person.ids}}
        return Person(
            defaultdict(set, ids), new_emails | person.emails, new_phones | person.phones, hashes=set(person.hashes)
        )

    def entries(self, key: PrivacyKey, action: str) -> list[Listed]:
        """Return the person as entries of the list."""
        texts = [(kind, str(one)) for kind, found in self.ids.items() for one in sorted(found)]
        texts += [(EMAIL, one) for one in sorted(self.emails)] + [(PHONE, one) for one in sorted(self.numbers)]
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

    def find(self, given: str, forgotten: Forgotten | None = None) -> Person:
        """Return the person with an e-mail address, or the customer of an id; an empty one if there is nobody.

        An address that is on the list of forgotten people is somebody's, even if nothing is stored with it.

        Raises `WarehouseError` on an agent, or an address of the shop, and on what is neither an address nor an id.
        """
        person = Person()
        plain = plain_email(given)
        if is_id(plain):
            self._refuse_agents("id", int(plain))
            person.ids[CUSTOMER].add(int(plain))
            if not self._is_known(int(plain)):
                return Person()
        elif plain in emails_in(plain):
            person.emails.add(plain)
            if person.emails & (self.shop | set(map(plain_email, self._texts("users", {"email": ""})))):
                raise WarehouseError("This address is an agent's or the shop's own, and no customer's.")
        else:
            raise WarehouseError(
                "This is neither an e-mail address nor a customer's id; a name or a number is neither."
            )
        found = self.completed(person)
        is_listed = forgotten and any(forgotten.action(EMAIL, one) for one in person.emails)
        return found if found.ids[CUSTOMER] or is_listed or self.count(found) else Person()

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
        forgotten = Forgotten.of(person.entries(self.key, ERASE), self.key)
        assert forgotten, "the key's own entry"
        for target in self.targets:
            with self._conditions(target, person) as (session, is_theirs, has_text):
                rows = session.rows_of(target.table)
                ((number,),) = session.execute(f"SELECT COUNT(*) FROM {rows} AS stored WHERE {is_theirs}")
                number = int(number)
                mentions = self._ids_where(session, target, f"{has_text} AND NOT COALESCE({is_theirs}, FALSE)")
                for some in _parts(mentions):
                    number += self._without(target, forgotten, session, some)[1]
            if number:
                found[target.table] = number
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
        """Erase the people on the list from all rows that have something of `person`; count the rows that changed.

        Rows that only mention the person come first: their addresses are known as long as there are rows of their own.
        """
        changed: dict[Table, int] = {}
        mentions, own = [], []
        with self.reading():
            for target in self.targets:
                with self._conditions(target, person) as (session, is_theirs, has_text):
                    theirs = self._ids_where(session, target, is_theirs)
                    with_text = self._ids_where(session, target, has_text)
                mentions.append((target, sorted({*with_text} - {*theirs})))
                own.append((target, theirs))
        for target, ids in [*mentions, *own]:
            for some in _parts(ids):
                with self.reading() as session:
                    left, rows = self._without(target, forgotten, session, some)
                if rows:
                    self.warehouse.update(target.table, left)
                    changed[target.table] = changed.get(target.table, 0) + rows
        return changed

    def elsewhere(self, person: Person, ours: Collection[Table]) -> dict[Table, int]:
        """Return the number of rows in somebody's own tables of the schema in which an address or a number is."""
        if not person.has_texts:
            return {}
        return self.warehouse.search_others(self.schema, person.pattern(self.key), {table.name for table in ours})

    def _without(
        self, target: Target, forgotten: Forgotten, session: Session, ids: Sequence[int]
    ) -> tuple[pa.Table, int]:
        """Return the rows of these ids without the people on the list, and the number of those that had something."""
        names = [column.name for column in (*target.columns, *ADDED_COLUMNS)]
        rows = self.warehouse.rows_by_id(target.table, names, ids, session)
        return forgotten.without(target.name, target.columns, rows)

    def _ids_where(self, session: Session, target: Target, condition: str) -> list[int]:
        rows = session.rows_of(target.table)
        found = session.execute(f"SELECT DISTINCT id FROM {rows} AS stored WHERE id IS NOT NULL AND ({condition})")
        return sorted(int(row_id) for (row_id,) in found)

    @contextmanager
    def _conditions(self, target: Target, person: Person) -> Iterator[tuple[Session, str, str]]:
        """Yield a session, and the conditions that a row is the person's, and that a text may have something of them.

        The latter finds more than there is: `Forgotten` decides.
        """
        dialect = self.warehouse.dialect
        with self.reading() as session, ExitStack() as stack:

            def among(expression: str, kind: str) -> list[str]:
                ids = person.ids.get(kind)
                return [stack.enter_context(session.naming(ids))(expression)] if ids else []

            is_theirs, has_text = [], []
            for expression, kind in _ids_in(dialect, target):
                is_theirs += among(expression, kind)
            if {"object_type", "object_id"} <= {column.name for column in target.columns}:
                for object_type, kind in OBJECT_TYPES.items():
                    is_theirs += [
                        f"(object_type = {dialect.literal(object_type)} AND {one})" for one in among("object_id", kind)
                    ]
            for some in person.parts() if person.has_texts else ():
                text = stack.enter_context(session.confidential(some.pattern(self.key)))
                has_text += [dialect.matches(one, text) for one in _texts_in(dialect, target)]
            any_of = [f"({' OR '.join(terms) or 'FALSE'})" for terms in (is_theirs, has_text)]
            yield session, any_of[0], any_of[1]

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
        if person.has_texts and (target := self._target("customers")):
            found |= self._with_address(target, "id", dialect.quoted("email"), person)
        for target, column in self._shown_people() if person.has_texts else ():
            value = dialect.quoted(column)
            key, email = dialect.text_at(value, "id"), dialect.text_at(value, "email")
            found |= self._with_address(target, dialect.typed(key, Kind.INTEGER), email, person)
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

    def _with_address(self, target: Target, key: str, address: str, person: Person) -> set[int]:
        """Return the keys of the rows with an address of the person's, in whatever spelling."""
        wanted = person.emails | person.hashes
        wanted |= set(map(self.key.hashed, person.emails)) if person.is_hashed else set()
        with self.reading() as session, ExitStack() as stack:
            condition = f"{address} IS NOT NULL"
            if len(wanted) <= MOST_IN_PATTERN:
                text = stack.enter_context(session.confidential(person.pattern(self.key)))
                condition = self.warehouse.dialect.matches(address, text)
            rows = session.rows_of(target.table)
            found = session.execute(f"SELECT DISTINCT {key}, {address} FROM {rows} AS stored WHERE {condition}")
        return {int(one) for one, text in found if one is not None and plain_email(text) in wanted}

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
        elif len(number := plain_phone(address or "")) >= SHORTEST_PHONE and not re.search("[a-z]", plain):
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
                with self._conditions(target, Person(person.ids)) as (session, is_theirs, _):
                    person.ids[kind] |= {*self._ids_where(session, target, is_theirs)}


def _parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), AT_ONCE):
        yield ids[start : start + AT_ONCE]


def _ids_in(dialect: Dialect, target: Target) -> Iterator[tuple[str, str]]:
    """Yield the expressions of a table's ids, each with its kind."""
    if target.name in OBJECTS:
        yield "id", OBJECTS[target.name]
    for column in target.columns:
        if kind := kind_of_id(column.name):
            yield dialect.quoted(column.name), kind
            yield dialect.typed(dialect.text_at(dialect.quoted(EXTRA), column.name), Kind.INTEGER), kind
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
