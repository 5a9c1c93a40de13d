"""Conditions on a game's log."""

from __future__ import annotations

import pytest

from isoclone.base.errors import DataError, SpecError
from isoclone.nethack.recordings.where import Where
from isoclone.nethack.recordings.xlogfile import FIELDS, read_xlogfile

LOG = {"role": "Mon", "align": "Neu", "points": 7287, "maxlvl": 4, "death": "killed by a fox"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("role == 'Mon' and death != 'quit'", True),
        ("role in ('Mon', 'Val')", True),
        ("role not in ['Mon', 'Val']", False),
        ("1000 < points <= 7287", True),
        ("not points < 10", True),
        ("points < 10 or 'fox' in death", True),
        ("alignment == 'Neu' and depth >= 4", True),
        ("deathlev > -3", False),  # the log lacks it
        ("not deathlev > 3", False),
        ("deathlev == 1 or role == 'Mon'", True),
        ("role == 'Mon' or deathlev == 1", True),
        ("not (deathlev == 1 and role == 'Val')", True),
        ("not (deathlev == 1 or role == 'Val')", False),
        ("1 < deathlev < points", False),
        ("not points < 10 < deathlev", True),
        ("points in [deathlev, 7287] or maxlvl == 4", True),
    ],
)
def test_conditions(text, matches):
    assert Where(text, FIELDS)(LOG) is matches


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("role ==", "cannot be read"),
        ("rle == 'Mon'", "no field 'rle'; known: .*role"),
        ("points", "compares nothing"),
        ("'Mon'", "compares nothing"),
        ("len(death) > 3", "not allowed"),
        ("__import__('os').system('true') == 0", "not allowed"),
        ("death.startswith('k') == True", "not allowed"),
        ("points + 1 > 3", "not allowed"),
        ("points == b'3'", "not allowed"),
        ("points < 3\0", "cannot be read"),
        ("role == '\ud800'", "cannot be read"),
        ("points < " + "9" * 5_000, "cannot be read"),
        ("not " * 60 + "points < 3", "nested more than 50 deep"),
        ("not " * 5_000 + "points < 3", "cannot be read|nested"),
        ("(" * 100_000, "cannot be read"),
        ("points in " + "[" * 150 + "]" * 150, "nested more than 50 deep"),
        ("len(" * 150 + "points" + ")" * 150, "not allowed"),
        ("(lambda: points)() > 3", "not allowed"),
    ],
)
def test_what_cannot_be_asked(text, said):
    with pytest.raises(SpecError, match=said) as caught:
        Where(text, FIELDS)
    assert len(str(caught.value)) < 500


def test_a_text_is_not_compared_with_a_number():
    with pytest.raises(SpecError, match="compares a text with a number"):
        Where("points > '3'", FIELDS)(LOG)


def test_xlogfile(tmp_path):
    path = tmp_path / "nle.7.xlogfile"
    path.write_text(
        "points=12\tachieve=0x1f\tdeath=killed by a newt\twhile=praying\tttyrecname=a.bz2\n"
        "points=13\tname=not recorded\n\n"
        "death=x=y\tttyrecname=b.bz2\n"
    )
    logs = read_xlogfile(path)
    assert logs["a.bz2"]["death"] == "killed by a newt while praying"
    assert (logs["a.bz2"]["points"], logs["a.bz2"]["achieve"]) == (12, 31)
    assert logs["b.bz2"]["death"] == "x=y"
    assert len(logs) == 2


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("points=many\tttyrecname=a.bz2\n", "line 1 is damaged: points is not a whole number"),
        ("points=1_0\tttyrecname=a.bz2\n", "points is not a whole number"),
        (f"points={2**63}\tttyrecname=a.bz2\n", "points is too large"),
        ("achieve=0xg\tttyrecname=a.bz2\n", "achieve is not a whole number"),
        ("turns=1\tttyrecname=a.bz2\n" * 2 + "turns=2\tttyrecname=a.bz2", "line 3 .*differs"),
        ("turns=1\tturns=2\tttyrecname=a.bz2\n", "'turns' has two values"),
    ],
)
def test_a_damaged_xlogfile(tmp_path, lines, said):
    path = tmp_path / "nle.7.xlogfile"
    path.write_text(lines)
    with pytest.raises(DataError, match=said):
        read_xlogfile(path)


def test_only_a_line_feed_ends_a_line_of_an_xlogfile(tmp_path):
    """A pet's name may hold what Unicode takes for the end of one."""
    path = tmp_path / "nle.7.xlogfile"
    path.write_bytes(b"death=killed by Rex\x85\x0b\x1c\tttyrecname=a.bz2\r\n")
    assert read_xlogfile(path)["a.bz2"]["death"] == "killed by Rex\x85\x0b\x1c"
