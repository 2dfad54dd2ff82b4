"""`make emulator`: a BigQuery emulator on loopback until Ctrl-C, empty at first, forgetting all at the end."""

import argparse
import signal
import sys
import threading

from gorgias_assets_tests.bigquery.emulator import Emulator, missing


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m gorgias_assets_tests.bigquery.emulator", description=__doc__)
    parser.add_argument("--port", type=int, default=9050, help="of the REST API; 0: any free one")
    parser.add_argument("--storage-port", type=int, default=9060, help="of the Storage Read API; 0: any free one")
    parser.add_argument("--dataset", default="gorgias")
    chosen = parser.parse_args()
    if reason := missing():
        print(reason, file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with Emulator(chosen.port, chosen.storage_port) as emulator:
            print(f"export WAREHOUSE_URI='{emulator.uri(chosen.dataset)}'\n")
            print("With this in another terminal, `make demo` and `make dev` write there. Ctrl-C ends it.", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
