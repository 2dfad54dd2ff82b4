"""Dagster's pages of this project and the overview's report in a real browser, and the screenshots of the documents.

The screenshots are written to the folder `SCREENSHOTS` if it is set, as `make screenshots` does.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import duckdb
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from gorgias_assets.overview.page import page_of
from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sandbox.shop import Shop
from gorgias_assets_tests.deployment import Deployment
from gorgias_assets_tests.overview.test_page import SUNDAY, weeks_of
from gorgias_assets_tests.pictures import drawn

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here; Debian's package is chromium"),
]

NOW = datetime.now(UTC)
OPENED = NOW.date() - timedelta(days=45)
REFUSED = str(NOW.date() - timedelta(days=12))
DAYS = [str(NOW.date() - timedelta(days=ago)) for ago in range(36, 0, -1)]
WIDTH, HEIGHT, SCALE, COLOURS = 1280, 720, 1.5, 128


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    account = Account(now=datetime.combine(OPENED, datetime.min.time(), UTC))
    Shop(account, seed=5, tickets_per_day=40).live(until=NOW)
    with Sandbox(account) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def deployment(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Yield a deployment with a month that was backfilled."""
    folder = tmp_path_factory.mktemp("deployment")
    with Deployment(folder, sandbox, GORGIAS_ENTITIES="core", GORGIAS_START_DATE=str(OPENED)) as deployment:
        backfill = deployment.backfill(DAYS)
        assert deployment.run_of(tags={"dagster/backfill": backfill})["status"] == "SUCCESS"
        yield deployment


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a report of thirteen weeks, the last of them unfinished."""
    return Path(drawn(tmp_path_factory.mktemp("report"), "2025-06-04")["report"])


@pytest.fixture(scope="module")
def browser(report: Path) -> Iterator[Browser]:  # noqa: ARG001, drawn before: a run finds no loop of events here then
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(browser: Browser, deployment: Deployment) -> Iterator[Page]:
    """Yield a page whose user has declined Dagster's newsletter."""
    page = browser.new_page(
        base_url=deployment.url,
        viewport={"width": WIDTH, "height": HEIGHT},
        device_scale_factor=SCALE,
        locale="en-GB",
        timezone_id="UTC",
        reduced_motion="reduce",
    )
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto("/assets")
    page.get_by_role("button", name="Skip").click()
    yield page
    page.close()
    assert errors == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(os.environ.get("SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))


def take(page: Page, file: Path) -> None:
    """Save the visible part of the page when nothing moves, in few colours."""
    page.mouse.move(WIDTH - 1, HEIGHT - 1)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1_000)
    shown = page.screenshot(animations="disabled")
    image = Image.open(BytesIO(shown)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(file, optimize=True)
    assert file.stat().st_size < 150_000


def test_an_asset_s_page_describes_its_rows_and_partitions_and_counts_them(page, deployment, folder):
    page.goto("/assets/gorgias/tickets?view=overview")
    expect(page.get_by_text("One row per ticket, spam and trashed tickets included.")).to_be_visible()
    expect(page.get_by_text("A partition is every row that something happened to on that day")).to_be_visible()
    expect(page.get_by_text("Gorgias's id of the ticket.")).to_be_visible()
    with duckdb.connect(str(deployment.database), read_only=True) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM warehouse.gorgias.tickets").fetchone()
    expect(page.get_by_text(f"{rows:,}", exact=True)).to_be_visible()
    take(page, folder / "asset.png")


def test_the_bar_of_partitions_shows_which_days_are_there_missing_and_failed(page, deployment, sandbox, folder):
    sandbox.faults.append(Fault(403, path="/api/tickets", times=None))
    assert deployment.ended(deployment.launch(REFUSED, ["tickets"]))["status"] == "FAILURE"
    sandbox.faults.clear()
    page.goto("/assets/gorgias/tickets?view=partitions")
    expect(page.get_by_text("46 Partitions Selected")).to_be_visible()
    for status in ("Failed (1)", "Materialized (35)", "Missing (10)"):
        expect(page.get_by_text(status)).to_be_visible()
    page.locator("span").filter(has_text=DAYS[-1]).click()
    expect(page.get_by_text("rate_limit_wait_seconds")).to_be_visible()
    take(page, folder / "partitions.png")


def test_a_materialization_reports_the_rows_it_has_read_and_their_cost(page, folder):
    page.goto("/assets/gorgias/ticket_messages?view=events")
    for name in ("window", "rows_merged", "api_calls", "rate_limit_wait_seconds", "rows_gone"):
        expect(page.get_by_text(name, exact=True)).to_be_visible()
    take(page, folder / "materialization.png")


def test_the_picture_of_the_overview_is_in_its_metadata_and_fits(page, folder):
    page.set_viewport_size({"width": WIDTH, "height": 1_080})
    page.goto("/assets/gorgias/overview?view=events")
    page.get_by_text("Show Markdown").first.click()
    picture = page.get_by_alt_text("Support, ")
    expect(picture).to_be_visible()
    shown, around = picture.bounding_box(), picture.locator("..").bounding_box()
    assert 600 < shown["width"] <= around["width"]
    take(page, folder / "picture.png")
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


def test_a_failed_check_explains_why(page, deployment, folder):
    with duckdb.connect(str(deployment.database)) as connection:
        connection.execute("INSERT INTO warehouse.gorgias.tickets SELECT * FROM warehouse.gorgias.tickets LIMIT 1")
    page.goto("/assets/gorgias/tickets?view=checks")
    page.get_by_text("ids_unique").first.click()
    page.get_by_role("button", name="Execute all").click()
    expect(page.get_by_text("1 with a repeated id")).to_be_visible()
    expect(page.get_by_text("Failed", exact=True).first).to_be_visible()
    expect(page.get_by_text("In Progress")).to_have_count(0)
    expect(page.get_by_text("Launched run")).to_be_hidden()
    take(page, folder / "check.png")


@contextmanager
def opened(browser: Browser, file: Path, fragment: str = "", **options: Any) -> Iterator[Page]:
    """Open a file as a person would. It must request nothing but itself, and have nothing to say on the console."""
    page = browser.new_page(**{"viewport": {"width": WIDTH, "height": 1_000}, "timezone_id": "Asia/Tokyo"} | options)
    said, requested = [], set()
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: requested.add(request.url.partition("#")[0]))
    page.goto(file.as_uri() + fragment)
    yield page
    page.close()
    assert (said, requested) == ([], {file.as_uri()})


def column(page: Page, table: str, heading: str) -> list[str]:
    """Return the texts of a column of the table by day, channel or agent."""
    section = page.locator(f"section[data-name={table}]")
    place = section.locator("thead th").all_inner_texts().index(heading)
    return section.locator("tbody tr").evaluate_all(
        "(rows, place) => rows.map(row => row.children[place].innerText)", place
    )


def texts(page: Page) -> list[str]:
    return page.locator("h1, #headline dt, #headline dd, tbody th, td, tfoot th").all_text_contents()


def test_without_javascript_the_report_shows_the_same_first_week(browser, report):
    with opened(browser, report) as page, opened(browser, report, java_script_enabled=False) as bare:
        assert texts(page) == texts(bare)
        assert len(texts(page)) > 300
        assert bare.locator("noscript p").is_visible()
        assert not bare.locator("form").is_visible()
        assert not bare.locator("#charts").is_visible()


def test_a_week_is_chosen_and_kept_in_the_address(browser, report):
    with opened(browser, report) as page:
        assert page.title() == "Support, 26 May to 1 June 2025", "the newest complete week"
        page.get_by_role("button", name="Earlier week").click()
        expect(page.locator("h1")).to_have_text("Support, 19 to 25 May 2025")
        assert page.url.endswith("#week=2025-05-19")
        assert column(page, "day", "Day")[0] == "Mon 19 May"
        page.go_back()
        expect(page.locator("h1")).to_have_text("Support, 26 May to 1 June 2025")
        page.get_by_label("Week", exact=True).select_option(label="2 to 8 June 2025 (unfinished, 3 of 7 days)")
        expect(page.locator("header")).to_contain_text("unfinished, 3 of 7 days · Monday to Sunday")
        assert column(page, "day", "Day") == ["Mon 2 Jun", "Tue 3 Jun", "Wed 4 Jun"]
        assert page.get_by_role("button", name="Later week").is_disabled()
        page.locator("canvas").first.click(position={"x": 300, "y": 80})
        expect(page.locator("h1")).not_to_have_text("Support, 2 to 8 June 2025")
    with opened(browser, report, "#week=2025-05-19&channel=chat") as page:
        expect(page.locator("h1")).to_have_text("Support, 19 to 25 May 2025")
        expect(page.locator("#of")).to_have_text("chat")
    with opened(browser, report, "#week=1066-10-14&agent=</script>&%") as page:
        expect(page.locator("h1")).to_have_text("Support, 26 May to 1 June 2025")


def test_headline_charts_and_tables_follow_a_channel_and_an_agent(browser, report):
    with opened(browser, report) as page:
        created = page.locator("#headline dd").first
        closed = dict(zip(column(page, "channel", "Channel"), column(page, "channel", "Tickets closed"), strict=True))
        drawn_before = page.locator("canvas").first.evaluate("canvas => canvas.toDataURL()")
        page.get_by_label("Show").select_option(label="email")
        expect(page.locator("#of")).to_have_text("email")
        assert created.inner_text() == page.locator("tfoot td").first.inner_text()
        assert not page.locator("section[data-name=channel]").is_visible()
        assert 0 < sum(map(int, column(page, "agent", "Tickets closed"))) <= int(closed["email"]), "some have no agent"
        assert page.locator("canvas").first.evaluate("canvas => canvas.toDataURL()") != drawn_before
        agent, of_email = column(page, "agent", "Agent")[0], column(page, "agent", "Tickets closed")[0]
        page.get_by_role("link", name=agent).click()
        expect(page.locator("#of")).to_have_text(agent)
        channels = dict(zip(column(page, "channel", "Channel"), column(page, "channel", "Tickets closed"), strict=True))
        assert channels["email"] == of_email
        assert not page.locator("section[data-name=agent]").is_visible()


def test_a_table_sorts_by_value_with_the_mouse_and_with_the_keyboard(browser, report):
    seconds = {"s": 1, "min": 60, "h": 3_600, "d": 86_400}

    def value(text: str) -> float:
        number, unit = text.split()
        return float(number) * seconds[unit]

    with opened(browser, report) as page:
        heading = page.locator("section[data-name=agent] th", has_text="Resolution median")
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == "descending"
        shown = [value(text) for text in column(page, "agent", "Resolution median")]
        assert shown == sorted(shown, reverse=True)
        page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == "ascending"
        assert column(page, "agent", "Resolution median") != sorted(column(page, "agent", "Resolution median"))
        shown = [value(text) for text in column(page, "agent", "Resolution median")]
        assert shown == sorted(shown)
        responses = page.locator("section[data-name=day] th", has_text="First response median")
        for _ in range(2):
            responses.get_by_role("button").press("Space")
            assert column(page, "day", "First response median")[-1] == "–", "nothing comes last"  # noqa: RUF001, the sign
        page.locator("section[data-name=agent] th").first.get_by_role("button").click()
        assert column(page, "agent", "Agent") == sorted(column(page, "agent", "Agent"), key=str.casefold)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("report", {"device_scale_factor": 1.25, "viewport": {"width": WIDTH, "height": 1_750}}),
        ("report-dark", {"device_scale_factor": SCALE, "color_scheme": "dark"}),
        ("report-phone", {"device_scale_factor": 1.25, "viewport": {"width": 360, "height": 1_000}, "has_touch": True}),
    ],
)
def test_the_report_fits_a_screen_light_and_dark_and_a_phone(browser, report, folder, name, options):
    with opened(browser, report, **options) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == page.viewport_size["width"]
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(23, 29, 35)" if name == "report-dark" else "rgb(253, 253, 253)")
        take(page, folder / f"{name}.png")
        for details in page.locator("summary").all():
            details.click()
        for place in range(page.get_by_label("Show").locator("option").count()):
            page.get_by_label("Show").select_option(index=place)
            assert page.evaluate("document.documentElement.scrollWidth") == page.viewport_size["width"]


def test_on_paper_the_report_is_light_and_whole(browser, report):
    with opened(browser, report, color_scheme="dark") as page:
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(253, 253, 253)"
        assert not page.locator("form").is_visible()
        assert page.pdf().startswith(b"%PDF")


def test_names_in_the_report_are_text_and_no_script(browser, tmp_path):
    hostile = "</script><img src=x onerror=alert(1)><script>alert(2)</script>"
    file = tmp_path / "report.html"
    file.write_text(page_of(weeks_of({SUNDAY: (3, 60, 1)}, agent=hostile, channel=f"{hostile}&agent=7")), "utf-8")
    with opened(browser, file) as page:
        for table, heading in (("channel", "Channel"), ("agent", "Agent")):
            (name,) = column(page, table, heading)
            assert name.startswith(hostile[:50])
            page.get_by_label("Show").select_option(label=name)
            expect(page.locator("#of")).to_have_text(name)
            page.reload()
            expect(page.locator("#of")).to_have_text(name)
            page.get_by_label("Show").select_option(index=0)
        assert page.locator("img").count() == 0
