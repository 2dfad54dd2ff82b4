"""The overview: each measure on its day, the picture and the report."""

import base64
import hashlib
import io
import json
import os
import re
import statistics
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from PIL import Image
from upath import UPath

from gorgias_assets.account import Account
from gorgias_assets.entities import CORE
from gorgias_assets.metrics.declared import METRICS, OVERVIEW
from gorgias_assets.overview import report
from gorgias_assets.overview.facts import read_facts
from gorgias_assets.overview.measures import COLUMNS, KEYS, MEASURES
from gorgias_assets.sandbox.account import Account as SandboxAccount
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.summaries import build_summaries
from gorgias_assets.warehouse.tables import Table
from gorgias_assets.windows import Window
from gorgias_assets_tests.conftest import FIRST_DAY, Project
from gorgias_assets_tests.deployment import REPOSITORY

FIRST, LAST = "2025-03-03", "2025-03-21"
LETTER, CUSTOMER = "my-private-letter", "Cora-Customer"
METRICS_DOCUMENT = REPOSITORY / "docs" / "metrics.md"
HOSTILE = "</script><!--<script>$x^2$\x1b\0\u2028"
HOUR = 3600


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2025, 3, day, hour, minute, tzinfo=UTC)


class Desk:
    """An account in which each situation has days of its own."""

    def __init__(self, account: SandboxAccount) -> None:
        self.account = account
        self.customer = account.create("customers", name=CUSTOMER, created_datetime=at(3))["id"]
        self.ann, self.bob = (account.create("users", name=name)["id"] for name in ("Ann", HOSTILE))

    def ticket(self, created: datetime, agent: int | None = None, **fields: Any) -> int:
        """Create a ticket that a customer has begun, with the first letter in it."""
        assigned = {"assignee_user": {"id": agent or self.ann}}
        shown = {"customer": {"id": self.customer}, "subject": LETTER, "excerpt": LETTER}
        ticket = self.account.create("tickets", created_datetime=created, **shown, **assigned, **fields)["id"]
        self.letter(ticket, created)
        return int(ticket)

    def letter(self, ticket: int, created: datetime) -> None:
        sender = {"sender": {"id": self.customer}, "body_text": LETTER}
        self.account.create("messages", ticket_id=ticket, created_datetime=created, **sender)

    def reply(self, ticket: int, created: datetime, agent: int | None = None, **fields: Any) -> int:
        sent = {"from_agent": True, "via": "helpdesk", "sender": {"id": agent or self.ann}, "body_text": LETTER}
        message = self.account.create("messages", ticket_id=ticket, created_datetime=created, **sent | fields)
        return int(message["id"])

    def close(self, ticket: int, closed: datetime, **fields: Any) -> None:
        self.account.update("tickets", ticket, status="closed", closed_datetime=closed, **fields)

    def survey(self, ticket: int, sent: datetime, score: int | None = None, scored: datetime | None = None) -> None:
        answer = {"score": score, "scored_datetime": scored, "body_text": LETTER}
        about = {"ticket_id": ticket, "customer_id": self.customer}
        self.account.create("satisfaction_surveys", created_datetime=sent, sent_datetime=sent, **about, **answer)


def answered_by_a_rule_first(desk: Desk) -> None:
    ticket = desk.ticket(at(3, 9))
    desk.reply(ticket, at(3, 9, 1), via="rule", rule_id=5)
    desk.reply(ticket, at(3, 9, 2), rule_id=5)
    desk.reply(ticket, at(3, 9, 10), via="email")
    desk.reply(ticket, at(3, 9, 20), public=False, channel="internal-note")
    desk.reply(ticket, at(3, 9, 30), imported=True)
    desk.reply(ticket, at(3, 9, 40), failed_datetime=at(3, 9, 41))
    desk.reply(ticket, at(3, 10, 30), failed_datetime=at(3, 10, 31), sent_datetime=at(3, 10, 32))
    desk.reply(ticket, at(3, 11, 30))


def begun_by_an_agent(desk: Desk) -> None:
    ticket = desk.account.create("tickets", created_datetime=at(4, 9), from_agent=True)["id"]
    desk.reply(ticket, at(4, 9), via="api")
    desk.letter(ticket, at(4, 10))
    desk.reply(ticket, at(4, 11))


def created_answered_and_closed_on_three_days(desk: Desk) -> None:
    ticket = desk.ticket(at(5, 23))
    desk.reply(ticket, at(6, 1))
    desk.close(ticket, at(7, 23))


def closed_twice_and_reopened(desk: Desk) -> None:
    twice, reopened = desk.ticket(at(8, 1)), desk.ticket(at(8, 1))
    desk.close(twice, at(8, 6))
    desk.account.update("tickets", twice, status="open")
    desk.close(twice, at(9, 1))
    desk.close(reopened, at(8, 6))
    desk.account.update("tickets", reopened, status="open", closed_datetime=at(8, 7))


def spam_trash_and_gone(desk: Desk) -> None:
    for fields in ({"spam": True}, {"trashed_datetime": at(10, 3)}, {"external_id": "to be deleted"}):
        ticket = desk.ticket(at(10, 1), **fields)
        desk.reply(ticket, at(10, 2))
        desk.close(ticket, at(10, 3))


def ten_waited_one_to_ten_hours(desk: Desk) -> None:
    for hours in range(1, 11):
        desk.reply(desk.ticket(at(11)), at(11, hours))


def scored_nine_days_late(desk: Desk) -> None:
    ticket = desk.ticket(at(12))
    desk.survey(ticket, at(12, 1), 5, at(21, 1))
    desk.survey(ticket, at(12, 1), 3, at(21, 2))
    desk.survey(ticket, at(12, 1))
    desk.survey(999, at(17, 1), 4, at(17, 2))


def answered_for_a_colleague(desk: Desk) -> None:
    ticket = desk.ticket(at(13), agent=desk.ann, channel=HOSTILE)
    desk.reply(ticket, at(13, 1), agent=desk.bob)
    desk.close(ticket, at(13, 2))


def three_messages_and_one(desk: Desk) -> None:
    long, short = desk.ticket(at(15)), desk.ticket(at(15))
    desk.reply(long, at(15, 1), public=False)
    desk.letter(long, at(15, 1))
    desk.reply(long, at(15, 2))
    for ticket in (long, short):
        desk.close(ticket, at(15, 3))


def older_than_the_warehouse(desk: Desk) -> None:
    ticket = desk.ticket(datetime(2025, 2, 1, tzinfo=UTC))
    desk.letter(ticket, at(16, 9))
    desk.reply(ticket, at(16, 10))
    desk.close(ticket, at(16, 12), updated_datetime=at(16, 12))


def in_a_team_that_has_the_id_of_an_agent(desk: Desk) -> None:
    team = desk.account.create("teams", id=desk.ann, name="Nights")
    desk.ticket(at(18), assignee_team={"id": team["id"]})


SITUATIONS = (
    answered_by_a_rule_first,
    begun_by_an_agent,
    created_answered_and_closed_on_three_days,
    closed_twice_and_reopened,
    spam_trash_and_gone,
    ten_waited_one_to_ten_hours,
    scored_nine_days_late,
    answered_for_a_colleague,
    three_messages_and_one,
    older_than_the_warehouse,
    in_a_team_that_has_the_id_of_an_agent,
)


def overview(
    project: Project, reports: Path, first: str, last: str, only_overview: bool = False
) -> dg.ExecuteInProcessResult:
    """Materialize the metrics and the overview, or the overview alone."""
    account = Account(CORE, start_date=FIRST_DAY, metrics=METRICS, reports=str(reports))
    made = build_summaries(account)
    return dg.materialize(
        [*project.assets, *made],
        selection=made[-1:] if only_overview else made,
        instance=project.instance,
        resources=project.resources,
        tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )


def table(project: Project) -> dict[tuple[int, str, str], dict[str, Any]]:
    names = [column.name for column in COLUMNS]
    rows = [
        dict(zip(names, row, strict=True)) for row in project.query(f"SELECT {', '.join(names)} FROM gorgias.overview")
    ]
    by_slice = {(row["day"].day, row["dimension"], row["slice"]): row for row in rows}
    assert len(by_slice) == len(rows), "a slice is in the table twice"
    return by_slice


def metadata_of(result: dg.ExecuteInProcessResult, day: str) -> dict[str, Any]:
    (of_day,) = [
        found for found in result.asset_materializations_for_node("gorgias__overview") if found.partition == day
    ]
    return {name: value.value for name, value in of_day.metadata.items()}


def png_of(markdown: str) -> bytes:
    found = re.fullmatch(r"!\[[\w ,]+\]\(data:image/png;base64,(.+)\)", markdown)
    assert found
    return base64.b64decode(found[1], validate=True)


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, dg.ExecuteInProcessResult, Path]]:
    """Materialize all situations in one run, and the overview of all their days in another."""
    folder = tmp_path_factory.mktemp("overview")
    account = SandboxAccount(now=datetime(2025, 4, 1, tzinfo=UTC))
    desk = Desk(account)
    for situation in SITUATIONS:
        situation(desk)
    with Sandbox(account) as sandbox:
        project = Project(sandbox, folder / "warehouse.duckdb")
        project.materialize(FIRST, LAST)
        (gone,) = [row["id"] for row in account.rows("tickets") if row["external_id"]]
        account.delete("tickets", gone)
        project.materialize("2025-03-10", select=["tickets"])
        yield project, overview(project, folder / "reports", FIRST, LAST), folder / "reports"


@pytest.fixture(scope="module")
def measured(month: tuple[Project, Any, Path]) -> dict[tuple[int, str, str], dict[str, Any]]:
    return table(month[0])


def of_all(measured: dict[tuple[int, str, str], dict[str, Any]], day: int) -> dict[str, Any]:
    """Return the measures of what happened on a day, without counts of zero and nulls."""
    left_out = {*(column.name for column in KEYS), "open_tickets", "waiting_for_agent"}
    return {name: value for name, value in measured[day, "all", "all"].items() if value and name not in left_out}


def test_a_reply_by_a_rule_from_outside_or_in_private_is_no_first_response(measured):
    assert of_all(measured, 3) == {
        "tickets_created": 1,
        "first_responses": 1,
        "first_response_median_seconds": 1.5 * HOUR,
        "first_response_p90_seconds": 1.5 * HOUR,
    }


def test_a_ticket_that_an_agent_began_has_no_first_response(measured):
    assert of_all(measured, 4) == {"tickets_created": 1}


def test_each_measure_counts_on_the_day_of_its_own_event(measured):
    assert of_all(measured, 5) == {"tickets_created": 1}
    assert of_all(measured, 6)["first_response_median_seconds"] == 2 * HOUR
    closed = of_all(measured, 7)
    assert (closed["tickets_closed"], closed["resolution_median_seconds"]) == (1, 48 * HOUR)


def test_a_ticket_counts_as_closed_when_it_was_last_closed_and_not_while_it_is_open_again(measured):
    assert of_all(measured, 8) == {"tickets_created": 2}
    assert measured[9, "all", "all"]["tickets_closed"] == 1
    assert measured[9, "all", "all"]["resolution_median_seconds"] == 24 * HOUR


def test_spam_the_trash_and_what_is_gone_count_nowhere(month, measured):
    assert month[0].query("SELECT count(*) FROM gorgias.tickets WHERE created_datetime::DATE = '2025-03-10'") == [(3,)]
    assert of_all(measured, 10) == {}


def test_percentiles_are_interpolated(measured):
    day = measured[11, "all", "all"]
    assert day["first_response_median_seconds"] == pytest.approx(5.5 * HOUR)
    assert day["first_response_p90_seconds"] == pytest.approx(9.1 * HOUR)


def test_a_survey_counts_when_it_was_sent_and_again_when_it_was_scored(measured):
    sent, scored = measured[12, "all", "all"], measured[21, "all", "all"]
    assert (sent["surveys_sent"], sent["surveys_scored"], sent["answer_rate"]) == (3, 0, 0)
    assert sent["satisfaction_score"] is None
    assert (scored["surveys_sent"], scored["surveys_scored"], scored["answer_rate"]) == (0, 2, None)
    assert (scored["satisfaction_score"], scored["average_score"]) == (0.5, 4)


def test_a_survey_counts_although_its_ticket_is_unknown(measured):
    assert of_all(measured, 17) == {
        "surveys_sent": 1,
        "surveys_scored": 1,
        "satisfaction_score": 1,
        "average_score": 4,
        "answer_rate": 1,
    }
    assert [key for key, row in measured.items() if key[0] == 17 and row["surveys_sent"]] == [(17, "all", "all")]


def test_a_first_response_is_its_writer_s_and_the_rest_the_agent_s_in_charge(measured):
    agents = {row["label"]: row for (day, dimension, _), row in measured.items() if (day, dimension) == (13, "agent")}
    assert agents.keys() == {"Ann", HOSTILE}
    assert [agents["Ann"][name] for name in ("tickets_created", "tickets_closed", "first_responses")] == [1, 1, 0]
    assert [agents[HOSTILE][name] for name in ("tickets_created", "tickets_closed", "first_responses")] == [0, 0, 1]
    channel = measured[13, "channel", HOSTILE]
    assert (channel["tickets_closed"], channel["first_responses"]) == (1, 1)


def test_a_team_and_an_agent_of_one_id_have_names_of_their_own(measured):
    labels = {
        dimension: row["label"] for (day, dimension, _), row in measured.items() if day == 18 and row["tickets_created"]
    }
    assert (labels["team"], labels["agent"]) == ("Nights", "Ann")


def test_agents_are_named_though_all_their_tickets_are_older_than_the_window(month):
    project, *_ = month
    tables = {name: Table("gorgias", name) for name in OVERVIEW.needs}
    _, names = read_facts(project.engine.warehouse(), tables, Window(at(20), at(21)))
    assert set(names["agent"].values()) == {"Ann"}


def test_messages_per_ticket_are_those_of_both_sides_without_notes(measured):
    assert measured[15, "all", "all"]["messages_per_ticket"] == 2


def test_a_ticket_whose_beginning_was_not_read_has_no_times(measured):
    assert of_all(measured, 16) == {"tickets_closed": 1}


def test_what_is_left_at_the_end_of_a_day_is_what_the_backlog_has(month, measured):
    names = ("tickets_reopened", "open_tickets", "waiting_for_agent")
    of_backlog = month[0].query(f"SELECT day, dimension, slice, {', '.join(names)} FROM gorgias.ticket_backlog")
    assert of_backlog
    assert {key: tuple(row[name] for name in names) for key, row in measured.items() if any(map(row.get, names))} == {
        (day.day, dimension, piece): tuple(numbers) for day, dimension, piece, *numbers in of_backlog if any(numbers)
    }


def test_each_measure_is_what_the_documents_query_of_the_metrics(month, measured):
    rows_of = {
        "ticket_metrics": "_deleted_at IS NULL AND spam IS NOT TRUE AND trashed_datetime IS NULL",
        "ticket_backlog": "dimension = 'all'",
        "satisfaction_surveys": "_deleted_at IS NULL",
    }
    line = re.compile(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \| `(.+?)` \|", re.MULTILINE)
    documented = line.findall(METRICS_DOCUMENT.read_text())
    assert [name for name, *_ in documented] == [one.name for one in MEASURES if one.name != "answer_rate"]
    for name, source, moment, expression in documented:
        days = f"SELECT CAST({moment} AS DATE) AS day, {expression} FROM gorgias.{source}"
        queried = dict(month[0].query(f"{days} WHERE {rows_of[source]} GROUP BY 1"))
        for day in range(3, 22):
            value = measured[day, "all", "all"][name]
            assert queried.get(date(2025, 3, day), 0 if value == 0 else None) == pytest.approx(value), (name, day)


def test_a_day_that_the_backlog_lacks_has_no_numbers_of_it(project, tmp_path):
    project.materialize(FIRST, "2025-03-04")
    overview(project, tmp_path, FIRST, "2025-03-04")
    project.engine.execute("DELETE FROM gorgias.ticket_backlog WHERE day = '2025-03-03'")
    overview(project, tmp_path, FIRST, "2025-03-04", only_overview=True)
    rows = table(project)
    assert rows[3, "all", "all"]["open_tickets"] is None
    assert rows[4, "all", "all"]["open_tickets"] == 0


def test_a_day_without_anything_is_a_row_of_zeros(measured):
    assert of_all(measured, 14) == {}
    assert measured[14, "all", "all"]["day"] == date(2025, 3, 14)


def test_a_run_writes_every_day_of_its_range(measured):
    assert {day for day, dimension, _ in measured if dimension == "all"} == set(range(3, 22))


def test_a_day_s_measures_know_of_nothing_after_its_rows_were_read_by_gorgias_s_clock(month):
    project, result, _ = month
    began_at = datetime.fromtimestamp(metadata_of(result, LAST)["began_at"], UTC)
    assert timedelta(0) <= project.account.now - began_at < timedelta(minutes=1)


def test_a_replayed_day_replaces_itself_and_its_picture_takes_the_other_days_from_the_table(month, measured, tmp_path):
    project, *_ = month
    result = overview(project, tmp_path, "2025-03-11", "2025-03-11")
    assert table(project) == measured
    page = Path(metadata_of(result, "2025-03-11")["report"]).read_text()
    weeks = data_of(page)
    assert [(week["title"], week["state"]) for week in weeks["weeks"]] == [
        ("3 to 9 March 2025", ""),
        ("10 to 16 March 2025", "unfinished, 2 of 7 days"),
    ]
    created = [measured[day, "all", "all"]["tickets_created"] for day in range(3, 12)]
    assert of_slice(weeks, "daily", "all", "tickets_created") == [*created, *[None] * 5]


def test_the_newest_day_of_a_run_alone_has_the_picture_and_it_is_a_small_png(month):
    _, result, _ = month
    assert [
        found.partition
        for found in result.asset_materializations_for_node("gorgias__overview")
        if "picture" in found.metadata
    ] == [LAST]
    png = png_of(metadata_of(result, LAST)["picture"])
    assert len(png) < 80_000
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        assert 900 < image.width <= 984, "Dagster shows it as wide as it is, in a dialog that is as wide as that"


class Page(HTMLParser):
    """A page's elements, their attributes and its text; what is in `script` and `style` elements is apart.

    Elements must be closed in the reverse order of opening.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.inlined: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attributes)
        if tag != "meta":
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(name, value or "") for name, value in attributes]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("script", "style"):
            self.inlined.append((self._open[-1], data))
        else:
            self.text += data


def data_of(page: str) -> dict[str, Any]:
    """Return what the page's script reads."""
    (found,) = re.findall(r'<script type="application/json" id="data">(.*)</script>', page)
    return json.loads(found)


def of_slice(data: dict[str, Any], by: str, label: str, measure: str) -> list[float | None]:
    """Return a measure of a slice, by day or by week."""
    (place,) = [place for place, (_, key, shown) in enumerate(data["slices"]) if label in (key, shown)]
    return data[by][place][[one["name"] for one in data["measures"]].index(measure)]


@pytest.fixture(scope="module")
def text(month: tuple[Project, dg.ExecuteInProcessResult, Path]) -> str:
    """Return the report, as HTML."""
    return Path(metadata_of(month[1], LAST)["report"]).read_text()


def test_the_report_is_one_whole_page_that_loads_nothing_and_runs_nothing_but_its_own_scripts(month, text):
    _, result, reports = month
    assert list(reports.iterdir()) == [Path(metadata_of(result, LAST)["report"])] == [reports / f"overview-{LAST}.html"]
    page = Page(text)
    assert not {"link", "img", "iframe", "object", "embed", "base"} & set(page.elements)
    assert not {name for name, _ in page.attributes if name in ("href", "src", "style") or name.startswith("on")}
    own = "".join(inlined for _, inlined in page.inlined if "Chart.js v" not in inlined)
    assert re.findall(r"url\(|@import|https?://|sourceMappingURL", own) == []
    hashes = {kind: [] for kind in ("script", "style")}
    for kind, inlined in page.inlined:
        digest = base64.b64encode(hashlib.sha256(inlined.encode()).digest()).decode()
        hashes[kind].append(f"'sha256-{digest}'")
    (policy,) = [value for name, value in page.attributes if name == "content" and "default-src" in value]
    assert policy == (
        f"default-src 'none'; script-src {' '.join(hashes['script'][1:])}; style-src {hashes['style'][0]}; "
        "base-uri 'none'; form-action 'none'"
    ), "the first script is data"
    assert all(measure.definition in page.text for measure in MEASURES)


def test_a_name_is_text_wherever_it_stands_with_escapes_for_what_has_no_shape(text):
    shown = r"</script><!--<script>$x^2$\x1b\x00\u2028"
    page = Page(text)
    assert page.elements.count("script") == text.count("</script>") == 3
    assert page.text.count(shown) == 4, "as a choice and in a table, a channel and an agent"
    assert [found for found in data_of(text)["slices"] if shown in found] == [
        ["channel", HOSTILE, shown],
        ["agent", found_id(text, shown), shown],
    ]


def found_id(text: str, label: str) -> str:
    return next(key for dimension, key, shown in data_of(text)["slices"] if (dimension, shown) == ("agent", label))


def test_nothing_that_a_customer_wrote_or_is_called_is_in_the_report_or_in_metadata(month, text):
    shown = text + str(metadata_of(month[1], LAST))
    assert LETTER not in shown
    assert CUSTOMER not in shown


def test_the_report_begins_with_the_newest_complete_week_and_marks_an_unfinished_one(text):
    page, data = Page(text), data_of(text)
    assert [(week["title"], week["state"]) for week in data["weeks"]] == [
        ("3 to 9 March 2025", ""),
        ("10 to 16 March 2025", ""),
        ("17 to 23 March 2025", "unfinished, 5 of 7 days"),
    ]
    assert data["first"] == 1
    assert "Support, 10 to 16 March 2025" in page.text
    assert "17 to 23 March 2025 (unfinished, 5 of 7 days)" in page.text


def test_a_median_of_a_week_is_that_of_its_tickets_and_not_of_its_days(text, measured):
    waits = [*range(1, 11), 1, 2]  # on 11, 13 and 15 March
    data = data_of(text)
    assert of_slice(data, "weekly", "all", "first_response_median_seconds")[1] == statistics.median(waits) * HOUR
    of_days = [measured[day, "all", "all"]["first_response_median_seconds"] for day in (11, 13, 15)]
    assert statistics.median(of_days) != statistics.median(waits) * HOUR
    assert of_slice(data, "weekly", "all", "tickets_created") == [
        sum(measured[day, "all", "all"]["tickets_created"] for day in week)
        for week in (range(3, 10), range(10, 17), range(17, 22))
    ]


def test_the_report_has_each_day_of_each_slice_as_the_table_has_it(text, measured):
    data = data_of(text)
    for (day, dimension, key), row in measured.items():
        place = [[*found[:2]] for found in data["slices"]].index([dimension, key])
        shown = [numbers[day - 3] for numbers in data["daily"][place]]
        assert shown == [
            pytest.approx(row[measure.name], abs=0.5 if measure.is_duration else 1e-4) for measure in MEASURES
        ]


def test_within_a_slice_are_its_own_tickets_alone(text):
    data = data_of(text)
    labels = [label for *_, label in data["slices"]]
    closed = 3 + [one["name"] for one in data["measures"]].index("tickets_closed")
    shared = [(week, labels[channel], labels[agent], row) for week, channel, agent, *row in data["shared"]]
    assert {(channel, agent): row[closed - 3] for week, channel, agent, row in shared if week == 1} == {
        ("email", "Ann"): 3,
        (labels[1], "Ann"): 1,
        (labels[1], labels[1]): 0,
    }


@pytest.fixture(params=[0o022, 0o077], ids=["umask 022", "umask 077"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    assert os.umask(before) == request.param


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(
    ("there", "file", "folder"),
    [(None, 0o600, 0o700), ((0o644, 0o755), 0o644, 0o755), ((0o640, 0o2770), 0o640, 0o2770)],
    ids=["new", "shared with all", "shared with a group"],
)
def test_a_report_and_its_folders_are_for_their_owner_alone_unless_they_were_there_for_others(
    tmp_path, there, file, folder
):
    place = tmp_path / "reports" / "support" / "overview.html"
    if there:
        place.parent.mkdir(parents=True)
        place.touch()
        for path, mode in ((place, there[0]), (place.parent, there[1]), (place.parent.parent, there[1])):
            path.chmod(mode)
    for _ in range(2):
        report._write("page", UPath(place))
        modes = [path.stat().st_mode & 0o7777 for path in (place, place.parent, place.parent.parent)]
        assert modes == [file, folder, folder]


def test_a_report_that_cannot_be_written_costs_a_warning_and_no_row(month, measured, tmp_path):
    project, *_ = month
    taken = tmp_path / "reports"
    taken.write_text("a file where the folder would be")
    result = overview(project, taken, LAST, LAST)
    assert "picture" in metadata_of(result, LAST)
    assert "report" not in metadata_of(result, LAST)
    assert "The report could not be written (FileExistsError)" in str(
        [entry.user_message for entry in project.log(result)]
    )
    assert table(project) == measured


def test_a_table_that_is_missing_is_named(project, tmp_path):
    project.materialize(FIRST, select=["tickets", "satisfaction_surveys"])
    with pytest.raises(dg.Failure, match=r"There is no table gorgias\.ticket_metrics in .*materialize its asset"):
        overview(project, tmp_path, FIRST, FIRST, only_overview=True)


@pytest.mark.soak
@pytest.mark.parametrize("engine", ["bigquery"], indirect=True)
def test_it_is_the_same_in_bigquery(project, account, tmp_path):
    desk = Desk(account)
    answered_by_a_rule_first(desk)
    desk.survey(desk.ticket(at(3)), at(3, 1), 5, at(3, 2))
    project.materialize(FIRST)
    for _ in range(2):
        overview(project, tmp_path, FIRST, FIRST)
    rows = table(project)
    assert rows.keys() == {(3, "all", "all"), (3, "channel", "email"), (3, "agent", str(desk.ann))}
    assert {tuple(row[measure.name] for measure in MEASURES) for row in rows.values()} == {
        (2, 0, 0, 2, 1, 1, 1.5 * HOUR, 1.5 * HOUR, *[None] * 5, 1, 1, 1.0, 5.0, 1.0)
    }
    assert rows[3, "agent", str(desk.ann)]["label"] == "Ann"


def test_an_account_in_which_nothing_has_happened_has_a_picture_too(project, tmp_path):
    project.materialize(FIRST)
    assert metadata_of(overview(project, tmp_path, FIRST, FIRST), FIRST).keys() >= {"picture", "report"}
    assert len(table(project)) == 1


def test_every_column_is_defined_before_the_first_run():
    (spec,) = build_summaries(Account(CORE, metrics=METRICS))[-1].specs
    columns = spec.metadata["dagster/column_schema"].columns
    assert [column.name for column in columns] == [column.name for column in COLUMNS]
    assert all(column.description and column.type for column in columns)
    assert spec.description.startswith("One row per day and slice")


def test_it_is_made_of_the_metrics_and_the_surveys_alone():
    asset = build_summaries(Account(CORE, "shop", metrics=METRICS))[-1]
    assert asset.key == dg.AssetKey(["shop", "overview"])
    assert asset.asset_deps[asset.key] == {dg.AssetKey(["shop", name]) for name in OVERVIEW.needs}
