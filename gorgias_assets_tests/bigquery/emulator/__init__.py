"""A BigQuery emulator in a process and an environment of its own: it needs a newer Python than this project does."""

import select
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

FOLDER = Path(__file__).parent
ENVIRONMENT = FOLDER.parents[2] / ".venv-bigquery"
SECONDS_TO_START = 60
SECONDS_TO_STOP = 10


def missing() -> str | None:
    """Return why there is no emulator to test with, or None if there is one."""
    if (ENVIRONMENT / "installed").exists():
        return None
    return "the BigQuery emulator is not installed; `make .venv-bigquery/installed` does it where there is Python 3.13"


class Emulator:
    """A server of an empty project on loopback while it is entered; the stored data is gone with it."""

    project = "local"

    def __init__(self, port: int = 0, storage_port: int = 0) -> None:
        self._ports = (port, storage_port)
        self.api_endpoint = ""
        self.storage_endpoint = ""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="bigquery-emulator-", ignore_cleanup_errors=True)
        port, storage_port = self._ports
        command = [ENVIRONMENT / "bin" / "python", "-I", FOLDER / "launcher.py"]
        options = [f"--data={self._folder.name}", f"--port={port}", f"--storage-port={storage_port}"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # a Ctrl-C at the terminal reaches it through `__exit__` only
            )
        try:
            port, storage_port = self._wait_for_ports()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.api_endpoint = f"http://127.0.0.1:{port}"
        self.storage_endpoint = f"127.0.0.1:{storage_port}"
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.communicate(timeout=SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._folder.cleanup()

    @property
    def process_id(self) -> int:
        return self._process.pid

    def uri(self, dataset: str) -> str:
        """Return the `WAREHOUSE_URI` by which the tables go to this dataset."""
        endpoints = {"api_endpoint": self.api_endpoint, "storage_endpoint": self.storage_endpoint}
        return f"bigquery://{self.project}?{urlencode({'dataset': dataset} | endpoints, safe=':/')}"

    @property
    def _log(self) -> Path:
        return Path(self._folder.name) / "log"

    def _wait_for_ports(self) -> tuple[int, int]:
        output = self._process.stdout
        assert output is not None
        ready, _, _ = select.select([output], [], [], SECONDS_TO_START)
        line = output.readline().split() if ready else []
        if len(line) != 2:
            what = "ended" if ready else f"was not ready after {SECONDS_TO_START} s"
            raise RuntimeError(f"the BigQuery emulator {what}:\n{self._log.read_text()}")
        return int(line[0]), int(line[1])
