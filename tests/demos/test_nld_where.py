"""Conditions on a game's log."""

from __future__ import annotations

import pytest

from isoclone.demos.nld.where import Where
from isoclone.demos.nld.xlogfile import FIELDS, read_xlogfile
from isoclone.errors import DataError, SpecError

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
        ("len(death) > 3", "not admitted"),
        ("__import__('os').system('true') == 0", "not admitted"),
        ("death.startswith('k') == True", "not admitted"),
        ("points + 1 > 3", "not admitted"),
        ("points == b'3'", "not admitted"),
        ("(lambda: points)() > 3", "not admitted"),
    ],
)
def test_what_cannot_be_asked(text, said):
    with pytest.raises(SpecError, match=said):
        Where(text, FIELDS)


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
    path.write_text("points=many\tttyrecname=a.bz2\n")
    with pytest.raises(DataError, match="line 1 is damaged"):
        read_xlogfile(path)
