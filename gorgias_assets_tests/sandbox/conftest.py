"""An account on a spring morning, and the HTTP that serves it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from gorgias_assets.sandbox.account import Account
from gorgias_assets.sandbox.server import Sandbox

MORNING = datetime(2026, 3, 1, 8, tzinfo=UTC)
Get = Callable[..., requests.Response]


@pytest.fixture
def account() -> Account:
    return Account(now=MORNING)


@pytest.fixture
def sandbox(account: Account) -> Iterator[Sandbox]:
    with Sandbox(account) as sandbox:
        yield sandbox


@pytest.fixture
def get(sandbox: Sandbox) -> Iterator[Get]:
    """Return a function that GETs a path below /api as the account's user, without following redirects."""
    with requests.Session() as session:
        session.auth = (sandbox.account.email, sandbox.account.api_key)

        def get(path: str, **params: Any) -> requests.Response:
            return session.get(sandbox.api_url + path, params=params, timeout=5, allow_redirects=False)

        yield get
