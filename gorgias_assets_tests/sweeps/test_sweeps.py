"""A sweep over real HTTP: its calls, its end, the answers it refuses, and the rows kept when it breaks."""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import ceil
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import dagster as dg
import duckdb
import pytest
from dagster._serdes import serialize_value

from gorgias_assets.api.client import Rejected, Unavailable, Untrusted
from gorgias_assets.entities import CORE, CUSTOMERS, SATISFACTION_SURVEYS, TICKET_MESSAGES, TICKETS
from gorgias_assets.entities.model import Entity
from gorgias_assets.resources import GorgiasResource
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.objects import KINDS
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sandbox.shop import Shop
from gorgias_assets.sweeps.batches import BATCH_ROWS, Batch
from gorgias_assets.sweeps.sweep import Sweep, Window
from gorgias_assets.warehouse.duckdb.warehouse import ROW_GROUP_ROWS
from gorgias_assets_tests.benchmarks.backfill import measure
from gorgias_assets_tests.conftest import FIRST_DAY, Project, touched

LAST_DAY = "2025-03-31"
START = datetime(2025, 3, 10, tzinfo=UTC)
END = START + timedelta(days=1)
SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)
BEHIND = START - SECOND - MICROSECOND  # where no row of the window can follow, though rows of a second are unordered
URI = "gorgias://shop?api_key=key&email=ana@shop.example"


def kind(entity: Entity) -> str:
    """Return the sandbox's name of an entity's objects."""
    return entity.path.removeprefix("/").replace("-", "_")


def insert_surveys(account: Account, moments: Iterator[datetime], first_id: int = 1) -> None:
    blank = KINDS["satisfaction_surveys"].blank
    account.insert_many(
        "satisfaction_surveys",
        ({**blank, "id": i, "created_datetime": moment} for i, moment in enumerate(moments, first_id)),
    )


def survey_sweep(sandbox: Sandbox, look_back_days: int = 0) -> Sweep:
    resource = GorgiasResource(
        uri=sandbox.uri,
        api_url=sandbox.api_url,
        patience_minutes=0.1,
        look_back_days={"satisfaction_surveys": look_back_days},
    )
    return resource.sweep(SATISFACTION_SURVEYS, START, END)


@contextmanager
def listing(pages: list[list[tuple[int, datetime]]]) -> Iterator[str]:
    """Serve an API on loopback whose every list is these pages of ids and creations, in any order."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            number = int(dict(parse_qsl(urlsplit(self.path).query)).get("cursor", 0))
            rows = [{"id": row_id, "created_datetime": moment.isoformat()} for row_id, moment in pages[number]]
            more = str(number + 1) if number + 1 < len(pages) else None
            body = json.dumps({"object": "list", "data": rows, "meta": {"prev_cursor": None, "next_cursor": more}})
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/api"
        server.shutdown()


def sweep_of(api_url: str, look_back_days: int = 45) -> Sweep:
    look_back = {"satisfaction_surveys": look_back_days}
    return GorgiasResource(uri=URI, api_url=api_url, look_back_days=look_back).sweep(SATISFACTION_SURVEYS, START, END)


def ids(batches: Iterator[Batch]) -> list[int]:
    """Return the ids of the window's rows."""
    return [row_id for batch in batches for row_id in touched(batch)["id"].to_pylist()]


def stored(project: Project) -> dict[int, Mapping[str, Any]]:
    return project.table(SATISFACTION_SURVEYS)


def count_from_outside(project: Project, table: str, at_least: int) -> int:
    """Return how many rows another connection sees, as soon as there are so many, or after a minute."""
    rows, until = 0, time.monotonic() + 60
    while rows < at_least and time.monotonic() < until:
        try:
            ((rows,),) = project.query(f"SELECT count(*) FROM gorgias.{table}")
        except duckdb.Error:  # no file yet, no table yet, or being written
            time.sleep(0.02)
    return rows


def test_nothing_is_requested_before_batches_are_read(sandbox):
    sweep = survey_sweep(sandbox)
    assert sandbox.requests == []
    assert ids(sweep.batches()) == []
    assert len(sandbox.requests) == 1


def test_a_look_at_the_first_page_is_not_requested_again(sandbox, account):
    insert_surveys(account, (START + SECOND for _ in range(150)))
    sweep = survey_sweep(sandbox)
    assert sweep.peek() is None
    assert len(ids(sweep.batches())) == 150
    assert len(sandbox.requests) == sweep.progress.calls == 2


def test_a_refused_first_page_is_no_sentence_for_an_entity_that_every_account_has(sandbox):
    sandbox.faults.append(Fault(403, times=None))
    with pytest.raises(Rejected, match="status 403"):
        survey_sweep(sandbox).peek()


def test_a_backfill_of_the_whole_history_is_one_run_of_a_call_per_hundred_rows(tmp_path):
    account = Account(now=datetime(2025, 3, 1, tzinfo=UTC))
    Shop(account, seed=5, tickets_per_day=25).live(until=datetime(2025, 4, 1, tzinfo=UTC))
    with Sandbox(account) as sandbox:
        project = Project(sandbox, tmp_path / "warehouse.duckdb")
        project.materialize(FIRST_DAY, LAST_DAY)
        for entity in CORE:
            calls = [request for request in sandbox.requests if request.path == "/api" + entity.path]
            least = ceil(account.count(kind(entity)) / 100)
            assert least <= len(calls) <= least + 1, entity.name
        assert len(project.table(TICKETS)) == account.count("tickets") > 500


def test_a_week_of_a_long_history_does_not_read_what_is_older(sandbox, account):
    insert_surveys(account, (START - timedelta(hours=hours) for hours in range(5000)))
    assert len(ids(survey_sweep(sandbox).batches())) == 1
    assert len(sandbox.requests) == 1


def test_paging_ends_at_the_first_page_that_reaches_behind_the_window(sandbox, account):
    """Pages of 100: two of the window, whose last row lies far enough behind it; 200 more could follow."""
    insert_surveys(account, (START + SECOND for _ in range(199)), first_id=1000)
    insert_surveys(account, iter([BEHIND]), first_id=900)
    insert_surveys(account, (START - timedelta(days=1) for _ in range(200)))
    assert ids(survey_sweep(sandbox).batches()) == list(range(1198, 999, -1))
    assert len(sandbox.requests) == 2


def test_paging_goes_on_while_the_last_row_lies_exactly_on_the_border(sandbox, account):
    """300 ties at the window's start: the first two pages end on the border, and all of the third belongs to it."""
    insert_surveys(account, (START for _ in range(300)), first_id=1000)
    insert_surveys(account, (BEHIND for _ in range(200)))
    assert sorted(ids(survey_sweep(sandbox).batches())) == list(range(1000, 1300))
    assert len(sandbox.requests) == 4


def test_the_look_back_moves_the_border_and_only_the_border(sandbox, account):
    border = START - timedelta(days=2)
    insert_surveys(account, (border for _ in range(100)), first_id=1000)
    account.update("satisfaction_surveys", 1000, sent_datetime=START + SECOND)
    insert_surveys(account, (border - (START - BEHIND) for _ in range(300)))
    account.update("satisfaction_surveys", 300, sent_datetime=START + SECOND)  # on the page that shows the border
    account.update("satisfaction_surveys", 1, sent_datetime=START + SECOND)  # two pages behind it
    assert ids(survey_sweep(sandbox, look_back_days=2).batches()) == [1000, 300]
    assert len(sandbox.requests) == 2


def test_wrong_order_within_a_page_is_untrusted(sandbox, account):
    insert_surveys(account, (START + SECOND * i for i in range(250)))
    sandbox.faults.append(Fault("wrong_order", skip=1))
    with pytest.raises(Untrusted, match=r"^GET /satisfaction-surveys: rows are not in the order of created_datetime"):
        ids(survey_sweep(sandbox).batches())


def test_wrong_order_from_one_page_to_the_next_is_untrusted():
    """Each page is in order by itself; only together are they not."""
    pages = [[(4, START + SECOND * 9), (3, START + SECOND * 8)], [(2, START + SECOND * 9 + MICROSECOND), (1, START)]]
    with listing(pages) as api_url, pytest.raises(Untrusted, match="rows could be missed"):
        ids(sweep_of(api_url).batches())


SCATTERED = [(4, 3.5), (3, 3.9), (2, 3.1), (1, 4.1)]  # ids, and seconds since the window's start


@pytest.mark.parametrize("size", [1, 2, 4], ids=lambda size: f"pages_of_{size}")
def test_rows_of_a_second_may_come_in_any_order_within_a_page_and_across_pages(size):
    rows = [(row_id, START + SECOND * since) for row_id, since in SCATTERED]
    with listing([rows[begin : begin + size] for begin in range(0, len(rows), size)]) as api_url:
        sweep = sweep_of(api_url)
        assert sorted(ids(sweep.batches())) == [1, 2, 3, 4]
        assert sweep.coverage["created_datetime"]["read_to"] is None


def test_a_row_of_the_window_behind_one_that_is_older_by_less_than_a_second_is_read():
    pages = [[(3, START + SECOND), (2, START - 0.6 * SECOND)], [(1, START + 0.3 * SECOND)], [(0, BEHIND)], []]
    with listing(pages) as api_url:
        sweep = sweep_of(api_url, look_back_days=0)
        assert ids(sweep.batches()) == [3, 1]
        assert sweep.progress.pages == 3


def test_ids_of_more_than_64_bits_fail_the_run_rather_than_being_lost(project):
    """They fit no column, and rows without an id would all be taken for one."""
    with listing([[(2**63 + 1, START + SECOND), (2**63, START)]]) as api_url:
        project.resources["gorgias"] = GorgiasResource(uri=URI, api_url=api_url, patience_minutes=0.01)
        with pytest.raises(Unavailable, match="no list of rows with ids"):
            project.materialize("2025-03-10", select=["satisfaction_surveys"])


def test_wrong_order_fails_the_run_and_keeps_what_was_committed(project, account, sandbox):
    rows = BATCH_ROWS + 960
    insert_surveys(account, (START + SECOND * i for i in range(rows)))
    project.materialize(FIRST_DAY, LAST_DAY, select=["satisfaction_surveys"])
    before = stored(project)
    insert_surveys(account, (START + SECOND * i for i in range(rows)), first_id=100_001)
    sandbox.faults.append(Fault("wrong_order", skip=150))
    result = project.materialize(FIRST_DAY, LAST_DAY, select=["satisfaction_surveys"], raise_on_error=False)
    assert not result.success
    assert any("rows could be missed" in serialize_value(entry) for entry in project.log(result))
    kept = stored(project)
    assert before.items() <= kept.items()
    assert len(kept) > len(before)
    sandbox.faults.clear()
    project.materialize(FIRST_DAY, LAST_DAY, select=["satisfaction_surveys"])
    assert len(stored(project)) == 2 * rows


def test_empty_pages_with_a_next_cursor_are_followed(sandbox, account):
    insert_surveys(account, (START + SECOND * i for i in range(250)))
    sandbox.faults.extend([Fault("empty_page"), Fault("empty_page", skip=2)])
    assert len(ids(survey_sweep(sandbox).batches())) == 250
    assert len(sandbox.requests) == 5


@pytest.mark.parametrize(("rows", "sizes"), [(1_000, [1_000, 500]), (730, [700, 700, 100]), (1_500, [1_500, 0])])
def test_batches_are_whole_pages_of_at_most_so_many_rows_and_the_last_one_the_rest(sandbox, account, rows, sizes):
    insert_surveys(account, (START + MICROSECOND * i for i in range(1_500)))
    assert [batch.rows.num_rows for batch in survey_sweep(sandbox).batches(rows)] == sizes


def test_a_batch_is_committed_while_the_sweep_goes_on(project, account, sandbox):
    insert_surveys(account, (START + MICROSECOND * i for i in range(2 * ROW_GROUP_ROWS)))
    seen = []

    def look(_: object) -> None:
        if len(sandbox.requests) == 60:  # held back until the batch of the first 40 pages can be seen
            seen.append(count_from_outside(project, "satisfaction_surveys", 4_000))

    sandbox.after_page = look
    project.materialize(FIRST_DAY, LAST_DAY, select=["satisfaction_surveys"])
    assert seen == [4_000]
    assert len(stored(project)) == 2 * ROW_GROUP_ROWS


def test_what_was_read_before_an_outage_is_kept_as_the_error_reports(project, account, sandbox):
    insert_surveys(account, (START + SECOND * i for i in range(500)))
    project.resources["gorgias"] = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, patience_minutes=0.01)
    sandbox.faults.append(Fault(503, skip=3, times=None))
    with pytest.raises(Unavailable, match="Rows read so far are saved"):
        project.materialize(FIRST_DAY, LAST_DAY, select=["satisfaction_surveys"])
    assert project.database.exists()
    assert len(stored(project)) == 300


def test_a_row_that_is_read_twice_is_stored_and_counted_once(project, account, sandbox):
    """Deleting a row above moves nothing down with cursors, so a row comes again only when it is touched again."""
    at = (START + SECOND * i for i in range(250))
    blank = KINDS["tickets"].blank
    account.insert_many(
        "tickets",
        ({**blank, "id": i, "created_datetime": m, "updated_datetime": m} for i, m in enumerate(at, 1)),
    )

    def an_agent_backdates(_: object) -> None:
        if len(sandbox.requests) == 1:
            account.update("tickets", 250, updated_datetime=START + SECOND * 50, status="closed")

    sandbox.after_page = an_agent_backdates
    result = project.materialize("2025-03-10", select=["tickets"])
    assert project.query("SELECT count(*), count(DISTINCT id) FROM gorgias.tickets") == [(250, 250)]
    assert project.query("SELECT status FROM gorgias.tickets WHERE id = 250") == [("closed",)]
    metadata = project.metadata(result, TICKETS)
    assert (metadata["rows_merged"], metadata["rows_new"]) == (250, 250)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(429, skip=1, retry_after=1),
        Fault(429, skip=1),
        Fault(500, skip=1),
        Fault(502, skip=1),
        Fault(503, skip=1),
        Fault(504, skip=1),
        Fault("reset", skip=1),
        Fault("truncated", skip=1),
        Fault("slow", skip=1, seconds=0.3),
        Fault("html", skip=1),
        Fault("broken_json", skip=1),
        Fault("null_data", skip=1),
        Fault("empty_page", skip=1),
        Fault("expired_cursor"),
        Fault(400, skip=1),
        Fault(403, skip=1),
        Fault(404, skip=1),
        Fault(405, skip=1),
    ],
    ids=lambda fault: str(fault.what) + ("_retry_after" if fault.retry_after else ""),
)
def test_a_fault_that_passes_ends_in_the_same_table(project, account, sandbox, fault):
    insert_surveys(account, (START + SECOND * i for i in range(250)))
    sandbox.faults.append(fault)
    result = project.materialize("2025-03-10", select=["satisfaction_surveys"])
    assert stored(project) == project.live_rows(SATISFACTION_SURVEYS)
    metadata = project.metadata(result, SATISFACTION_SURVEYS)
    assert metadata["api_calls"] == len(sandbox.requests)
    refused = fault.what in (
        "expired_cursor",
        400,
        403,
        404,
        405,
    )  # these reach the same rows in another way, not again
    assert metadata["retries"] == len(sandbox.requests) - metadata["pages"] - refused
    assert metadata["retries"] == (0 if refused or fault.what in ("slow", "empty_page") else 1)


@pytest.mark.parametrize("what", [401, "stuck_cursor", "wrong_order"])
def test_a_fault_that_reading_on_would_make_worse_fails_the_run_and_the_next_one_repairs_it(
    project, account, sandbox, what
):
    insert_surveys(account, (START + SECOND * i for i in range(250)))
    sandbox.faults.append(Fault(what, skip=0 if isinstance(what, str) and "cursor" in what else 1))
    result = project.materialize("2025-03-10", select=["satisfaction_surveys"], raise_on_error=False)
    assert not result.success
    assert len(sandbox.requests) == 2
    project.materialize("2025-03-10", select=["satisfaction_surveys"])
    assert stored(project) == project.live_rows(SATISFACTION_SURVEYS)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_rejected_run_fails_at_once_with_one_clear_sentence_and_no_retry(project, account, sandbox, status):
    insert_surveys(account, (START + SECOND * i for i in range(10)))
    sandbox.faults.append(Fault(status, times=None))
    result = project.materialize("2025-03-10", select=["satisfaction_surveys"], raise_on_error=False)
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert len(sandbox.requests) == 1
    failure = failed.step_failure_data
    assert failure.error.message.startswith(
        "dagster._core.definitions.events.Failure: GET /satisfaction-surveys of account"
    )
    assert str(status) in failure.error.message
    assert failure.error.message.count("\n") <= 1
    with pytest.raises(dg.Failure) as raised:
        project.materialize("2025-03-10", select=["satisfaction_surveys"])
    assert raised.value.__suppress_context__  # reported once, without the frames of the client
    assert raised.value.allow_retries is False
    logged = "\n".join(map(serialize_value, project.log(result)))
    assert account.api_key not in logged
    assert account.email not in logged
    assert "cursor=" not in logged


@pytest.mark.parametrize(("status", "attempts"), [(401, 1), (403, 1), (503, 3)])
def test_a_job_s_retry_policy_is_followed_only_where_another_attempt_can_help(
    project, account, sandbox, status, attempts
):
    insert_surveys(account, iter([START]))
    sandbox.faults.append(Fault(status, times=None))
    project.resources["gorgias"] = GorgiasResource(uri=sandbox.uri, api_url=sandbox.api_url, patience_minutes=0.001)
    job = dg.define_asset_job(
        "surveys",
        dg.AssetSelection.assets(["gorgias", "satisfaction_surveys"]),
        op_retry_policy=dg.RetryPolicy(max_retries=2),
    )
    definitions = dg.Definitions(assets=project.assets, jobs=[job], resources=project.resources)
    result = definitions.resolve_job_def("surveys").execute_in_process(
        partition_key="2025-03-10", instance=project.instance, raise_on_error=False
    )
    starts = [event for event in result.all_events if event.is_step_start or event.is_step_restarted]
    assert len(starts) == attempts


def test_the_log_and_the_events_of_a_failed_run_hold_no_letter(project, account, sandbox, caplog):
    account.insert_many(
        "messages",
        (
            {**KINDS["messages"].blank, "id": i, "created_datetime": START, "body_text": "my private letter"}
            for i in range(250)
        ),
    )
    with caplog.at_level(logging.DEBUG):
        for fault in ("truncated", "broken_json", "null_data", "wrong_order", "html", 500):
            sandbox.faults[:] = [Fault(fault, skip=1, times=None)]
            project.resources["gorgias"] = GorgiasResource(
                uri=sandbox.uri, api_url=sandbox.api_url, patience_minutes=0.001
            )
            result = project.materialize("2025-03-10", select=["ticket_messages"], raise_on_error=False)
            logged = "\n".join(map(serialize_value, project.log(result))) + caplog.text
            assert "private letter" not in logged, fault
            assert account.api_key not in logged, fault


def test_progress_counts_what_was_read_and_logs_when_it_is_complete(sandbox, account):
    insert_surveys(account, (START - timedelta(hours=1) + SECOND * 36 * i for i in range(250)))
    sweep = survey_sweep(sandbox)
    shares = []
    list(sweep.batches(on_page=lambda: shares.append(sweep.share_done)))
    progress = sweep.progress
    assert (progress.pages, progress.calls, progress.retries) == (2, 2, 0)
    assert (progress.rows_read, progress.rows_touched) == (200, 150)
    assert progress.newest == START - timedelta(hours=1) + SECOND * 36 * 249
    assert progress.reached == START - timedelta(minutes=30)
    assert progress.complete
    assert sweep.share_done == 1
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)


def test_a_sweep_that_broke_is_not_complete(sandbox, account):
    insert_surveys(account, (START + SECOND * i for i in range(250)))
    sandbox.faults.append(Fault(401, skip=1))
    sweep = survey_sweep(sandbox)
    with pytest.raises(Rejected):
        list(sweep.batches())
    assert not sweep.progress.complete


def test_leaving_a_sweep_early_stops_its_requests(sandbox, account):
    insert_surveys(account, (START + MICROSECOND * i for i in range(30_000)))
    sandbox.latency = 0.02  # all 300 pages would take six seconds
    batches = survey_sweep(sandbox).batches(rows=100)
    next(batches)
    batches.close()
    made = len(sandbox.requests)
    time.sleep(0.1)
    assert len(sandbox.requests) == made < 300


@pytest.mark.parametrize(
    ("start", "end", "mistake"),
    [
        (START, START, "must end after it starts"),
        (END, START, "must end after it starts"),
        (START.replace(tzinfo=None), END, "must be aware datetimes in UTC"),
        (START, END.replace(tzinfo=None), "must be aware datetimes in UTC"),
        (START, END.astimezone(timezone(timedelta(hours=1))), "must be aware datetimes in UTC"),
    ],
)
def test_a_window_that_is_empty_or_not_in_utc_is_refused(start, end, mistake):
    with pytest.raises(ValueError, match=mistake):
        Window(start, end)


def test_rows_of_every_touch_order_are_found_by_the_order_the_list_is_read_in(project, account):
    """Customers and tickets are read by update: one that was created in the window and updated long after is found."""
    for entity in (CUSTOMERS, TICKETS):
        blank = KINDS[kind(entity)].blank
        late = {"created_datetime": START, "updated_datetime": START + timedelta(days=20)}
        account.insert_many(kind(entity), ({**blank, "id": i, **late} for i in range(250)))
    project.materialize("2025-03-10", select=["customers", "tickets"])
    for entity in (CUSTOMERS, TICKETS):
        assert len(project.table(entity)) == 250


@pytest.mark.soak
def test_peak_memory_does_not_grow_with_the_range():
    """Rows of 2.5 KB: two and a half times as many come through a process of the same size."""
    small, large = measure(20_000, 0), measure(50_000, 0)
    assert (small["rows"], large["rows"]) == (20_000, 50_000)
    assert large["peak_mib"] < 1.15 * small["peak_mib"]


def test_messages_of_a_ticket_that_was_merged_or_deleted_meanwhile_do_not_stop_the_sweep(project, account, sandbox):
    tickets = [account.create("tickets", created_datetime=START)["id"] for _ in range(3)]
    for i in range(300):
        account.create("messages", ticket_id=tickets[i % 3], created_datetime=START + SECOND * i)

    def an_agent_tidies_up(_: object) -> None:
        if len(sandbox.requests) == 1:
            account.delete("tickets", tickets[0])
            account.merge("tickets", tickets[1], tickets[2])

    sandbox.after_page = an_agent_tidies_up
    project.materialize("2025-03-10", select=["ticket_messages"])
    table, live = project.table(TICKET_MESSAGES), project.live_rows(TICKET_MESSAGES)
    assert live.keys() <= table.keys()
