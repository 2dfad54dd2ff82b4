"""Text from outside is shown on one line, short, and without letters that steer a terminal."""

import pytest

from gorgias_assets.display import shown


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Zoë 客服 👍", "Zoë 客服 👍"),
        ("red\x1b[31m", r"red\x1b[31m"),
        ("one\r\ntwo\ttabs", r"one\r\ntwo\ttabs"),
        ("\x00\x9b\xa0", r"\x00\x9b\xa0"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2028line\u200b", r"\u2028line\u200b"),
        ("half \ud83d", r"half \ud83d"),
        ("\U000e0041", r"\U000e0041"),
        ("x" * 61, "x" * 60 + "…"),
        ("\n" * 60, r"\n" * 30 + "…"),
    ],
)
def test_what_has_no_shape_is_shown_as_an_escape_and_the_text_is_short(text: str, seen: str) -> None:
    assert shown(text) == seen
