"""`python -m gorgias_assets.sandbox` prints how to reach the shop it serves."""

import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import requests

URI = "gorgias://sandbox?api_key=sandbox-key&email=ines.vale%40shop.example"


def test_what_is_printed_can_be_copied() -> None:
    yesterday = (datetime.now(UTC).date() - timedelta(days=1)).isoformat()
    command = [sys.executable, "-m", "gorgias_assets.sandbox", "--opened", yesterday, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            printed = ""
            while "GORGIAS_API_URL" not in printed:
                printed += (line := process.stdout.readline())
                assert line, process.stderr.read()
            found = re.search(r"curl -u '(.+):(.+)' '(.+)'", printed)
            assert found is not None
            user, key, url = found.groups()
            assert len(requests.get(url, auth=(user, key), timeout=60).json()["data"]) == 1
            assert f"export GORGIAS_URI='{URI}'" in printed
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()
