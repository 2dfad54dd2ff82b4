"""dbt in an environment of its own, `.venv-dbt`: it needs other versions than this project's tests are run with."""

from pathlib import Path

FOLDER = Path(__file__).parent
REPOSITORY = FOLDER.parents[1]
ENVIRONMENT = REPOSITORY / ".venv-dbt"
PYTHON, DBT = (ENVIRONMENT / "bin" / name for name in ("python", "dbt"))


def missing() -> str | None:
    """Return why dbt cannot be tested with, or None if it can."""
    return None if (ENVIRONMENT / "installed").exists() else "dbt is not installed; `make .venv-dbt/installed` does it"
