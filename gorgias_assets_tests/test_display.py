"""Text from outside as people see it."""

import pytest

from gorgias_assets.display import shown, shown_counts


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Zoë Übermut 你好", "Zoë Übermut 你好"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\r\n2026-01-01 forged", r"a\r\n2026-01-01 forged"),
        ("a\0b", r"a\x00b"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a\u2028b\u200bc\xa0d", r"a\u2028b\u200bc\xa0d"),
        ("half \ud83d", r"half \ud83d"),
        ("x" * 5000, "x" * 60 + "…"),
        ("\0" * 60, r"\x00" * 15 + "…"),
    ],
    ids=ascii,
)
def test_a_name_is_shown_on_one_line_short_and_with_escapes(text, seen):
    assert shown(text) == seen


def test_many_names_are_shown_as_a_few_and_the_number_of_the_others():
    counts = shown_counts({f"field\n{n}": 2 for n in range(5000)}, most=2)
    assert counts == {r"field\n0": 2, r"field\n1": 2, "4,998 others": 9996}
    assert shown_counts({"x" * 5000: 1, "x" * 5001: 2}) == {"x" * 60 + "…": 3}
