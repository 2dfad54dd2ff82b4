"""A PostgreSQL of its own from Debian's package, on loopback, in a folder that is removed with it."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

# No test survives a crash of the machine.
CARELESS = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"


def programs() -> Path | None:
    """Return the folder of the newest version's programs, if one is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[4]))
    return found[-1].parent if found else None


@contextmanager
def postgres(folder_of_programs: Path) -> Iterator[dict[str, str]]:
    """Yield its address and user in the variables that `deploy/postgres.yaml` reads.

    PostgreSQL refuses to run as root: then it runs as the user that the package made.
    """
    user = "postgres" if os.geteuid() == 0 else None
    with TemporaryDirectory(prefix="postgres-") as folder:
        if user:
            shutil.chown(folder, user)

        def run(program: str, *arguments: str) -> None:
            command = [folder_of_programs / program, "-D", f"{folder}/data", *arguments]
            subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=60)

        port = free_port()
        options = f"-h 127.0.0.1 -p {port} -k {folder} {CARELESS}"
        run("initdb", "-U", "dagster", "--auth=trust", "--no-sync", "--no-instructions")
        run("pg_ctl", "start", "-w", "-l", f"{folder}/log", "-o", options)
        try:
            yield {
                "DAGSTER_PG_HOST": "127.0.0.1",
                "DAGSTER_PG_PORT": str(port),
                "DAGSTER_PG_USERNAME": "dagster",
                "DAGSTER_PG_PASSWORD": "any",
                "DAGSTER_PG_DB": "postgres",
            }
        finally:
            run("pg_ctl", "stop", "-w", "-m", "immediate")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
