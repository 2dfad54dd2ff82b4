"""Dagster's pages of this project in a real browser, and the screenshots of the documents.

The screenshots are written to the folder `SCREENSHOTS` if it is set, as `make screenshots` does.
"""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import duckdb
import pytest
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sandbox.shop import Shop
from gorgias_assets_tests.deployment import Deployment

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
    with Deployment(folder, sandbox, GORGIAS_START_DATE=str(OPENED)) as deployment:
        backfill = deployment.backfill(DAYS)
        assert deployment.run_of(tags={"dagster/backfill": backfill})["status"] == "SUCCESS"
        yield deployment


@pytest.fixture(scope="module")
def page(deployment: Deployment) -> Iterator[Page]:
    """Yield a browser whose user has declined Dagster's newsletter."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
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
        browser.close()
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
