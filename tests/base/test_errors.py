"""Words for what code of others raises."""

from __future__ import annotations

import pytest

from isoclone.base.errors import words_of


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("the server\nwent away"), "RuntimeError: the server went away"),
        (AssertionError(), "AssertionError"),
        (SystemExit(3), "called sys.exit(3)"),
    ],
)
def test_what_was_raised_is_one_line(error: BaseException, said: str) -> None:
    assert words_of(error) == said
