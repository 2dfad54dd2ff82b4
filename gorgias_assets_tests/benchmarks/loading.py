"""The time to load the code location in a fresh process without settings: the shortest of several."""

import argparse
import os
import subprocess
import sys
import tempfile
import time

SETTINGS = ("GORGIAS_", "WAREHOUSE_", "ALERT_", "DAGSTER_")


def seconds_of(code: str, times: int) -> float:
    """Return the shortest time of a process that runs some Python code."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(times):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], env=environment, cwd=folder, check=True)
            seconds.append(time.perf_counter() - started)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    chosen = parser.parse_args()
    codes = {"python": "pass", "dagster": "import dagster", "gorgias_assets": "import gorgias_assets.definitions"}
    print(f"{'imported':>16}{'seconds':>10}")
    for name, code in codes.items():
        print(f"{name:>16}{seconds_of(code, chosen.times):>10.2f}")


if __name__ == "__main__":
    main()
