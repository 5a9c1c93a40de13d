"""Ablations of studies of frames; those of whole games are in tests/nethack/test_study.py."""

from __future__ import annotations

import pytest
from support import tiny_spec

from isoclone.base.errors import SpecError
from isoclone.study.ablation import Ablation


def test_frames_cannot_be_selected_by_game(toy_demos, tmp_path):
    variants = {"long": {"where": "length > 20", "budgets_flops": (3e6,)}}
    asked = Ablation("tried", "Does it help?", tiny_spec(), variants, 2, (3e6,), episodes=2)
    with pytest.raises(SpecError, match=r"filters recordings of whole games only; .* holds record"):
        asked.run(tmp_path, toy_demos.path)
