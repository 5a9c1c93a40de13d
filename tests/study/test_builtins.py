"""Ready-made studies by name: built in, of any Atari game, or somebody else's."""

from __future__ import annotations

import pytest

from isoclone.base.errors import SpecError, UnknownNameError
from isoclone.study.builtins import BREAKOUT, STUDIES, TOY, builtin, builtin_names


def test_by_name():
    assert builtin("toy") == TOY
    assert builtin("breakout") == BREAKOUT
    pong = builtin("atari/Pong")
    assert (pong.name, pong.game, pong.expert) == ("atari-pong", "atari/Pong", "lookahead")


def test_what_has_none_says_so():
    with pytest.raises(SpecError, match="without a ready-made study"):
        builtin("gym/CartPole-v1")
    with pytest.raises(UnknownNameError, match=r"nonsense.*atari/<name>, breakout, .*toy"):
        builtin("nonsense")


def test_a_study_of_somebody_else():
    STUDIES.add("mine", lambda: TOY.replace(name="mine"))
    try:
        assert builtin("mine").name == "mine"
        assert "mine" in builtin_names()
    finally:
        STUDIES.remove("mine")
    assert "mine" not in builtin_names()
