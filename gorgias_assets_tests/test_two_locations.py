"""Two accounts in two code locations of one instance: neither believes what was read of the other."""

from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from gorgias_assets.days import Day, days_of
from gorgias_assets.sandbox.account import Account as SandboxAccount
from gorgias_assets.sandbox.faults import Fault
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets_tests.conftest import FIRST_DAY
from gorgias_assets_tests.daemon import EU, US, Daemon

FIRST, DAYS = datetime.fromisoformat(FIRST_DAY).replace(tzinfo=UTC), 7
BEGINS = {"eu": 0, "us": 2}  # the day of its first row
OUTAGE = {"eu": (3, 4), "us": (5,)}


@pytest.mark.soak
def test_a_week_with_outages_ends_with_every_day_of_each_account_complete_and_its_own_rows(tmp_path):
    shops = {name: SandboxAccount(now=FIRST, domain=name) for name in BEGINS}
    with Sandbox(shops["eu"]) as eu, Sandbox(shops["us"]) as us, pytest.MonkeyPatch.context() as patch:
        sandboxes = {"eu": eu, "us": us}
        for name, sandbox in sandboxes.items():
            patch.setenv(f"{name.upper()}_URI", sandbox.uri)
            patch.setenv(f"{name.upper()}_API_URL", sandbox.api_url)
        patch.setenv("WAREHOUSE", str(tmp_path / "warehouse.duckdb"))
        with Daemon(tmp_path / "home", "eu_by_schedule", "us_by_schedule") as daemon:
            for number in range(DAYS + 1):
                for hour in (0, 12, 23):
                    moment = FIRST + timedelta(days=number, hours=hour, minutes=31)
                    for name, account in shops.items():
                        account.now = moment
                        sandboxes[name].faults[:] = [Fault(503, times=None)] if number in OUTAGE[name] else []
                        if BEGINS[name] <= number < DAYS:
                            customer = account.create("customers", name=f"{name} {number}")
                            account.create("tickets", customer=customer, subject=f"{name}, {moment}")
                    daemon.look(moment)
            days = [str((FIRST + timedelta(days=number)).date()) for number in range(DAYS)]
            for account in (EU, US):
                for key in map(account.key_of, account.entities):
                    states = days_of(daemon.instance, account.partitions, key, days)
                    assert states == dict.fromkeys(days, Day.COMPLETE), key
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        for name, account in shops.items():
            for table, field in (("tickets", "subject"), ("customers", "name")):
                stored = connection.execute(f"SELECT id, {field} FROM {name}.{table} ORDER BY id").fetchall()
                assert stored == sorted((row["id"], row[field]) for row in account.rows(table))
                assert len(stored) == (DAYS - BEGINS[name]) * 3
