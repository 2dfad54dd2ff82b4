"""The image: built by buildah, without a daemon, on a base that debootstrap makes, and run as its own user."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
import yaml

from gorgias_assets.entities import CORE
from gorgias_assets.sandbox.account import Account as SandboxAccount
from gorgias_assets.sandbox.server import Sandbox
from gorgias_assets.sandbox.shop import Shop
from gorgias_assets_tests.conftest import FIRST_DAY, Project
from gorgias_assets_tests.deployment import wait_until
from gorgias_assets_tests.postgres import free_port

pytestmark = pytest.mark.soak

REPOSITORY = Path(__file__).parent.parent
DAY = "2025-03-05"
USER = 10001
PLANTED = "kept-out-of-the-image"
# Debian's Python; Debian keeps pip from changing it, other than the makers of Python's own images.
PACKAGES = "ca-certificates,python3,python3-pip,python-is-python3"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NETWORK = {"cert", "client-cert", "index-url", "proxy", "timeout", "trusted-host"}


def missing() -> str | None:
    """Return why no image can be built here, or None if one can."""
    if os.geteuid() != 0:
        return "debootstrap, which makes the base of the image, needs root"
    if not all(map(shutil.which, ("buildah", "debootstrap", "git"))):
        return "buildah, debootstrap or git is not installed; `apt-get install buildah debootstrap git` does it"
    return None


class Image(NamedTuple):
    """A built image, a container of it, and buildah, with a store of its own."""

    store: Path
    container: str

    def buildah(self, *arguments: str | Path) -> str:
        return buildah(self.store, *arguments)

    @property
    def config(self) -> dict[str, Any]:
        return json.loads(self.buildah("inspect", self.container))["Docker"]["config"]

    def command(self, *command: str, volume: Path | None = None, **variables: str) -> list[str | Path]:
        """Return a command that runs one in the container, on this machine's network, as the image's user."""
        volumes = ["--volume", f"{volume}:/data"] if volume else []
        settings = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
        options = [*volumes, *settings, self.container, "--", *command]
        return [*in_store(self.store), "run", "--isolation", "chroot", *options]

    def run(self, *command: str, volume: Path | None = None, **variables: str) -> str:
        return finished(self.command(*command, volume=volume, **variables))


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Yield the image of the last commit, built in a clone that has a secret in its `.env`."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    with TemporaryDirectory(prefix="image-") as folder:
        store, tree = Path(folder, "store"), Path(folder, "tree")
        finished(["git", "clone", "--quiet", REPOSITORY, tree])
        (tree / ".env").write_text(f"GORGIAS_URI={PLANTED}\n")
        pip = Path(folder, "pip.conf")
        pip.write_text("\n".join(["[global]", *(f"{name} = {value}" for name, value in network_of_pip().items()), ""]))
        certificates = [value for name, value in network_of_pip().items() if name.endswith("cert")]
        mounts = [f"{pip}:/etc/pip.conf:ro", *(f"{file}:{file}:ro" for file in certificates)]
        volumes = [word for mount in mounts for word in ("--volume", mount)]
        options = ["--isolation", "chroot", "--format", "docker", "--build-arg", "BASE=localhost/base"]
        try:
            make_base(store)
            buildah(store, "bud", *options, *volumes, "--tag", "localhost/gorgias-assets", tree)
            yield Image(store, buildah(store, "from", "localhost/gorgias-assets"))
        finally:
            buildah(store, "rm", "--all")  # and their mounts


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    account = SandboxAccount(now=datetime(2025, 3, 1, tzinfo=UTC))
    Shop(account, seed=4, tickets_per_day=30).live(until=datetime(2025, 3, 9, tzinfo=UTC))
    with Sandbox(account) as sandbox:
        yield sandbox


def test_the_definitions_load_in_the_image_with_the_settings_of_each_deployment(image: Image):
    values = yaml.safe_load((REPOSITORY / "deploy" / "kubernetes" / "values.yaml").read_text())
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    for settings in ({}, deployment["env"]):
        image.run("dagster", "definitions", "validate", *deployment["dagsterApiGrpcArgs"], **settings)


def test_a_day_is_materialized_by_the_user_of_the_image_into_a_file_on_a_volume(
    image: Image, sandbox: Sandbox, tmp_path: Path
):
    volume = tmp_path / "volume"
    volume.mkdir()
    os.chown(volume, USER, USER)
    settings = {
        "GORGIAS_URI": sandbox.uri,
        "GORGIAS_API_URL": sandbox.api_url,
        "GORGIAS_START_DATE": FIRST_DAY,
        "WAREHOUSE_URI": "duckdb:////data/warehouse.duckdb",
    }
    selected = ",".join(f"gorgias/{entity.name}" for entity in CORE)
    command = ["dagster", "asset", "materialize", "-m", "gorgias_assets.definitions", "--select", selected]
    image.run(*command, "--partition", DAY, volume=volume, **settings)
    made, here = Project(sandbox, volume / "warehouse.duckdb"), Project(sandbox, tmp_path / "here.duckdb")
    here.materialize(DAY)
    for entity in CORE:
        touched = {
            row_id: row
            for row_id, row in made.live_rows(entity).items()
            if any(row[field] and str(row[field].date()) == DAY for field in entity.read.touch_fields)
        }
        assert made.table(entity) == here.table(entity) == touched, entity.name
        assert touched, entity.name
    assert {file.stat().st_uid for file in volume.iterdir()} == {USER}


def test_the_command_of_the_image_serves_the_code_location_and_its_health_check_passes(image: Image):
    port = str(free_port())
    served, checked = (
        [port if word == "4000" else word for word in command]
        for command in (image.config["Cmd"], image.config["Healthcheck"]["Test"][1:])
    )
    check = partial(subprocess.run, image.command(*checked), capture_output=True)
    assert check().returncode != 0
    with subprocess.Popen(
        image.command(*served), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as server:
        try:
            wait_until(lambda: check().returncode == 0, 120)
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def test_the_other_processes_of_dagster_are_in_the_image(image: Image):
    for program in ("dagster-webserver", "dagster-daemon"):
        assert program in image.run(program, "--version")
    image.run("python", "-c", "import dagster_k8s, dagster_postgres")


def test_the_image_runs_as_a_user_who_can_change_only_the_data_and_the_history(image: Image):
    assert (image.config["User"], image.config["WorkingDir"]) == (str(USER), "/data")
    assert image.run("id", "-u").strip() == str(USER)
    writable = image.run("sh", "-c", "find / -xdev -type d -writable 2>/dev/null || true").split()
    assert {"/data", "/opt/dagster/dagster_home"} <= {*writable}
    assert [folder for folder in writable if folder.startswith(("/opt/gorgias_assets", "/usr", "/etc"))] == []


def test_the_image_holds_no_secret_no_tests_no_history_and_nothing_of_the_registry(image: Image):
    root = Path(image.buildah("mount", image.container))
    paths = [*root.rglob("*")]
    assert {"gorgias_assets", "dagster.yaml"} <= {path.name for path in paths}
    assert not {path.name for path in paths} & {".git", ".env", ".venv", "gorgias_assets_tests"}
    files = [path for path in paths if path.is_file() and not path.is_symlink()]
    assert not [file for file in files if PLANTED.encode() in file.read_bytes()]
    assert (root / "etc" / "pip.conf").stat().st_size == 0
    described = image.buildah("inspect", image.container)
    kept_out = {"GORGIAS_URI", "ALERT_WEBHOOK_URL", PLANTED, network_of_pip().get("index-url", PLANTED)}
    assert not [word for word in kept_out if word in described]
    print(f"\nThe image has {sum(file.stat().st_size for file in files) / 1e6:,.0f} MB with its base.")


def make_base(store: Path) -> None:
    """Make a small Debian with Python, as `localhost/base`."""
    container = buildah(store, "from", "scratch")
    root = Path(buildah(store, "mount", container))
    finished(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root])
    for lock in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        lock.unlink()
    buildah(store, "config", "--env", f"PATH={PATH}", container)
    buildah(store, "commit", "--rm", container, "localhost/base")


def network_of_pip() -> dict[str, str]:
    """Return how this machine's pip reaches its registry, in pip's settings; nothing if it needs none."""
    listed = finished([sys.executable, "-m", "pip", "config", "list"])
    settings = re.findall(r"^\S*?([a-z-]+)='(.*)'$", listed, re.MULTILINE)
    return {name: value for name, value in reversed(settings) if name in NETWORK}  # the environment is listed first


def in_store(store: Path) -> list[str | Path]:
    return ["buildah", "--root", store / "images", "--runroot", store / "run"]


def buildah(store: Path, *arguments: str | Path) -> str:
    return finished([*in_store(store), *arguments]).strip()


def finished(command: list[str | Path]) -> str:
    """Return the output of a command that has to succeed."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout
