"""The code location: the effects of loading it, and the meaning of its settings."""

import json
import os
import re
import subprocess
import sys
from collections import defaultdict

import dagster as dg
import pytest

from gorgias_assets.build import build_definitions
from gorgias_assets.entities import CORE, CUSTOMERS, ENTITIES, TAGS, TICKETS
from gorgias_assets.selection import chosen
from gorgias_assets.settings import Settings

LOAD = """
import os, sys
done = []
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo") or (event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR)):
        done.append((event, str(args[0])))
sys.addaudithook(watch)
from gorgias_assets.definitions import defs
defs.get_repository_def()
done = [(event, what) for event, what in done if what != "/dev/null"]
assert not done, done
slow = ("google.cloud", "matplotlib", "PIL", "dagster_gcp", "dagster_k8s", "gorgias_assets.sandbox")
assert not [name for name in sys.modules if name.startswith(slow)]  # they would double the time that loading takes
"""
SETTINGS = ("GORGIAS_", "WAREHOUSE_", "ALERT_", "DAGSTER_")


def load(tmp_path, code=LOAD, read="", **settings) -> subprocess.CompletedProcess[str]:
    """Run Python code in an empty folder, in an environment without any setting but these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    environment = {**kept, "PYTHONDONTWRITEBYTECODE": "1", **settings}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, input=read, capture_output=True, text=True
    )


def test_a_fresh_process_loads_it_without_settings_network_or_writing_and_in_silence(tmp_path):
    result = load(tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


REFUSED = [
    ("GORGIAS_START_DATE", "01.02.2025", "GORGIAS_START_DATE must be a date, YYYY-MM-DD."),
    ("GORGIAS_DAILY_AT", "08:30+02:00", "GORGIAS_DAILY_AT must be a time of day, HH:MM."),
    ("GORGIAS_DAILY_AT", "noon", "GORGIAS_DAILY_AT must be a time of day, HH:MM."),
    ("GORGIAS_MAX_SHARE", "80%", "GORGIAS_MAX_SHARE must be a number above 0, at most 1."),
    ("GORGIAS_MAX_SHARE", "8", "GORGIAS_MAX_SHARE must be a number above 0, at most 1."),
    ("GORGIAS_TIMEZONE", "Berlin", "GORGIAS_TIMEZONE must be a time zone such as Europe/Berlin."),
    ("GORGIAS_CHANGES_EVERY", "0", "GORGIAS_CHANGES_EVERY must be a number of minutes, 1 to 1440."),
    ("GORGIAS_GAPS_DAYS", "all", "GORGIAS_GAPS_DAYS must be a number of days, 1 to 36500."),
    ("GORGIAS_EXECUTOR", "celery", "GORGIAS_EXECUTOR must be in_process, processes or kubernetes."),
    ("GORGIAS_SEEK", "maybe", "GORGIAS_SEEK must be on or off."),
    ("WAREHOUSE_URI", "sqlite:///x", "The warehouse URI names no known warehouse; expected duckdb:///<file>"),
    ("WAREHOUSE_URI", "md:x?motherduck_token=s3cret", "set the environment variable motherduck_token instead."),
]

LOAD_WITH_EACH = """
import json, os, sys
from importlib import import_module
from traceback import format_exc
for name, value in json.loads(sys.stdin.read()):
    os.environ[name] = value
    try:
        import_module("gorgias_assets.definitions")
    except Exception:
        print(json.dumps(format_exc()))
    del os.environ[name]
"""


@pytest.fixture(scope="module")
def tracebacks(tmp_path_factory) -> dict[tuple[str, str], str]:
    """Return the traceback of loading with each refused setting, one after the other in one process."""
    cases = [(name, value) for name, value, _ in REFUSED]
    result = load(tmp_path_factory.mktemp("refused"), LOAD_WITH_EACH, json.dumps(cases))
    return dict(zip(cases, map(json.loads, result.stdout.splitlines()), strict=True))


@pytest.mark.parametrize(("setting", "value", "sentence"), REFUSED)
def test_a_setting_that_cannot_be_used_ends_loading_in_one_sentence(tracebacks, setting, value, sentence):
    traceback = tracebacks[setting, value]
    assert sentence in traceback.splitlines()[-1]
    assert "s3cret" not in traceback


def test_settings_that_are_empty_count_as_not_set(tmp_path):
    names = ("GORGIAS_URI", "GORGIAS_API_URL", "GORGIAS_SCHEMA", "GORGIAS_START_DATE", "GORGIAS_DAILY_AT")
    result = load(tmp_path, "import gorgias_assets.definitions", **dict.fromkeys((*names, "WAREHOUSE_URI"), ""))
    assert result.returncode == 0, result.stderr


def test_settings_reach_what_they_are_for(tmp_path):
    code = """
from gorgias_assets.definitions import defs
tickets = defs.get_assets_def(["gorgias", "tickets"])
io_manager = defs.resources["io_manager"]
print(tickets.partitions_def.get_first_partition_key(), io_manager.database, io_manager.schema_)
daily = defs.resolve_schedule_def("gorgias_daily")
print(daily.cron_schedule, daily.execution_timezone, defs.resources["gorgias"].max_share)
print(defs.resolve_sensor_def("gorgias_changes").minimum_interval_seconds)
print(defs.resolve_sensor_def("gorgias_gaps").description)
"""
    result = load(
        tmp_path,
        code,
        GORGIAS_START_DATE="2025-05-05",
        GORGIAS_SCHEMA="helpdesk",
        WAREHOUSE_URI="duckdb:////data/shop.duckdb",
        GORGIAS_DAILY_AT="04:15",
        GORGIAS_TIMEZONE="Europe/Berlin",
        GORGIAS_CHANGES_EVERY="10",
        GORGIAS_GAPS_DAYS="90",
        GORGIAS_MAX_SHARE="0.5",
    )
    assert result.stdout.splitlines()[:3] == [
        "2025-05-05 /data/shop.duckdb helpdesk",
        "15 4 * * * Europe/Berlin 0.5",
        "600",
    ], result.stderr
    assert result.stdout.splitlines()[3].startswith("Find days of the last 90 that")


def test_the_daily_job_takes_all_entities_and_the_overview():
    from gorgias_assets.definitions import defs

    job = defs.resolve_job_def("gorgias")
    names = {key.path[-1] for key in job.asset_layer.executable_asset_keys}
    assert names == {entity.name for entity in ENTITIES} | {"overview", "ticket_backlog", "ticket_metrics"}


@pytest.mark.parametrize("uri", ["md:tokenomics", pytest.param("duckdb:///token=1.duckdb", marks=pytest.mark.soak)])
def test_a_word_like_token_in_a_name_is_no_secret(tmp_path, uri):
    result = load(tmp_path, "import gorgias_assets.definitions", WAREHOUSE_URI=uri)
    assert result.returncode == 0, result.stderr


def test_definitions_of_two_accounts_do_not_collide(tmp_path):
    warehouse = f"duckdb:///{tmp_path}/shops.duckdb"
    eu, us = (build_definitions(name, warehouse=warehouse) for name in ("gorgias_eu", "gorgias_us"))
    both = dg.Definitions.merge(eu, us)
    both.get_repository_def()
    assert {key.path[0] for key in both.resolve_asset_graph().get_all_asset_keys()} == {"gorgias_eu", "gorgias_us"}
    for definitions in (both.jobs, both.schedules, both.sensors):
        names = [definition.name for definition in definitions or ()]
        assert len(names) == len(set(names)) > 2


STEPS_OF_THE_CORE = {f"gorgias__{entity.name}{suffix}" for entity in CORE for suffix in ("", "_checks")} | {
    "gorgias__overview",
    "gorgias__ticket_backlog",
    "gorgias__ticket_metrics",
    "gorgias__tickets_events",
    "gorgias__ticket_messages_events",
}


def test_with_the_core_alone_there_is_no_step_of_anything_else():
    defs = build_definitions(entities="core")
    assert {key.path[-1] for key in defs.resolve_asset_graph().get_all_asset_keys()} == {
        *(entity.name for entity in CORE),
        *("ticket_metrics", "ticket_backlog", "overview"),
    }
    assert {node.name for node in defs.resolve_job_def("gorgias").nodes} == STEPS_OF_THE_CORE


def test_with_all_there_is_a_group_for_each_kind_of_entity_and_one_step_for_all_lists():
    defs = build_definitions(entities="all")
    groups = defaultdict(set)
    for spec in defs.resolve_all_asset_specs():
        groups[spec.group_name].add(spec.key.path[-1])
    assert groups["gorgias"] == {*(entity.name for entity in CORE), "overview"}
    assert {entity.name for entity in ENTITIES} <= set().union(*groups.values())
    assert groups["gorgias_metrics"] == {"ticket_backlog", "ticket_metrics"}
    assert {"gorgias_reference", "gorgias_events", "gorgias_voice"} <= groups.keys()
    more = {node.name for node in defs.resolve_job_def("gorgias").nodes} - STEPS_OF_THE_CORE
    daily = ("events", "jobs", "voice_calls", "voice_call_events", "voice_call_recordings")
    assert more == {f"gorgias__{name}{suffix}" for name in daily for suffix in ("", "_checks")} | {"gorgias_reference"}
    assert {node.name for node in defs.resolve_job_def("gorgias_freshness").nodes} >= {"gorgias_reference"}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("core, tags", [*(entity.name for entity in CORE), "tags"]),
        (["tags", TICKETS, "tickets"], ["tags", "tickets"]),
        ("all", [entity.name for entity in ENTITIES]),
    ],
    ids=["text", "declaration", "all"],
)
def test_entities_are_chosen_by_words_names_and_declarations(words, names):
    entities, *_ = chosen(Settings.of(entities=words).entities)
    assert [entity.name for entity in entities] == names


def test_a_view_is_chosen_only_with_what_it_is_made_of():
    entities, views, _ = chosen(["core", "tags", "ticket_tags"])
    assert ([*entities], [view.name for view in views]) == ([*CORE, TAGS], ["ticket_tags"])
    with pytest.raises(
        ValueError, match=r"^The view ticket_tags is made of tickets: choose that as well, or neither\.$"
    ):
        chosen(["tags", "ticket_tags"])


def test_metrics_are_part_of_the_core_and_chosen_only_with_what_they_need():
    names = ["ticket_metrics", "ticket_backlog", "overview"]
    for words in (["all"], ["core"], [*(entity.name for entity in CORE), *names]):
        assert [metric.name for metric in chosen(words)[2]] == names
    assert chosen([entity.name for entity in CORE])[2] == []
    with pytest.raises(
        ValueError, match=r"^ticket_metrics is made of ticket_messages, satisfaction_surveys: choose that as well, or"
    ):
        chosen(["tickets", "ticket_metrics"])


@pytest.mark.parametrize(
    "variables",
    [
        {"GORGIAS_HOLIDAYS": "12-24, 25.12."},
        {"GORGIAS_METRIC_FIELDS": "Reason, reason"},
        {"GORGIAS_METRIC_FIELDS": "理由"},
    ],
)
def test_settings_of_metrics_that_cannot_be_used_are_refused_in_a_sentence(variables):
    with pytest.raises(ValueError, match=r"^GORGIAS_\w+ must be .*, with commas between them[\w ,]*\.$"):
        Settings.from_environment(variables)


def test_the_types_of_events_to_read_are_those_of_the_setting():
    assert Settings.from_environment({"GORGIAS_EVENT_TYPES": "ticket-closed, ticket-reopened"}).event_types == (
        "ticket-closed",
        "ticket-reopened",
    )
    assert Settings().event_types == ()


def test_without_the_entities_that_it_needs_there_is_no_overview():
    defs = build_definitions(entities=[CUSTOMERS])
    defs.get_repository_def()
    assert {key.path[-1] for key in defs.resolve_asset_graph().get_all_asset_keys()} == {"customers"}


@pytest.mark.parametrize("text", ["a\nb", "a\0b", "a\udcff", "a\u2028b"], ids=ascii)
@pytest.mark.parametrize("variable", [field.alias for field in Settings.model_fields.values() if field.alias])
def test_a_setting_with_line_ends_or_bytes_that_are_no_text_is_refused_with_a_sentence(variable, text):
    sentence = f"{variable} must be text in UTF-8, without line ends and control characters."
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        Settings.from_environment({variable: f"s3cret{text}"})


def test_what_may_hold_a_secret_is_in_no_representation_of_the_settings():
    uri = "bigquery://my-project?gcp_credentials=c2VjcmV0"
    url = "https://user:c2VjcmV0@host"
    settings = Settings(warehouse=uri, reports=url, alert_webhook_url=url, api_url=url)
    assert "c2VjcmV0" not in f"{settings} {settings!r}"


def test_white_space_around_a_setting_does_not_count():
    settings = Settings.from_environment(
        {"WAREHOUSE_URI": " duckdb:///a.duckdb\r\n", "GORGIAS_DAILY_AT": "01:30\n", "GORGIAS_SCHEMA": "\t \n"}
    )
    assert (settings.warehouse, settings.table_schema) == ("duckdb:///a.duckdb", "")
    assert f"{settings.daily_at:%H:%M}" == "01:30"


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("GORGIAS_CHANGES_EVERY", "1e400"),
        ("GORGIAS_CHANGES_EVERY", "1e300"),
        ("GORGIAS_CHANGES_EVERY", "nan"),
        ("GORGIAS_GAPS_DAYS", "9" * 5000),
        ("GORGIAS_GAPS_DAYS", "9" * 12),
        ("GORGIAS_MAX_SHARE", "inf"),
        ("GORGIAS_TIMEZONE", "x" * 5000),
        ("GORGIAS_TIMEZONE", "../../etc/passwd"),
        ("GORGIAS_TIMEZONE", "Europe"),
        ("GORGIAS_START_DATE", "99999-01-01"),
        ("GORGIAS_DAILY_AT", "24:00"),
    ],
    ids=lambda text: text[:20],
)
def test_an_odd_value_of_a_setting_is_refused_with_a_sentence(variable, text):
    with pytest.raises(ValueError, match=rf"^{variable} must be [^\n]*\.$"):
        Settings.from_environment({variable: text})
