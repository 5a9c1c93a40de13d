"""An expert with a memory, imitated by a policy without one: a plan says so."""

from __future__ import annotations

import numpy as np
import pytest

import isoclone as ic
from isoclone.base.tables import EXPERTS
from isoclone.demos import RecordRequest, record
from isoclone.study.estimate import plan
from isoclone.study.spec import StudySpec


class Alternates:
    """Does one thing, then the other, whatever it sees."""

    name, lockstep, recurrent = "alternates", 1, True

    def reset(self, n):
        self.turn = 0

    def act(self, observations):
        self.turn += 1
        return np.full(len(observations), self.turn % 2)


class Forgets(Alternates):
    name, recurrent = "forgets", False


@pytest.fixture(autouse=True)
def experts():
    for kind in (Alternates, Forgets):
        ic.register_expert(kind.name, lambda game, kind=kind: kind())
    yield
    for kind in (Alternates, Forgets):
        EXPERTS.remove(kind.name)


@pytest.mark.parametrize("recorded", [False, True], ids=["to record", "recorded"])
@pytest.mark.parametrize(
    ("expert", "policy", "told"),
    [("alternates", "mlp", 1), ("alternates", "mlp-lstm", 0), ("forgets", "mlp", 0)],
)
def test_a_plan_says_that_a_memory_cannot_be_imitated_without_one(
    expert, policy, told, recorded, tmp_path
):
    spec = StudySpec(name="memory", game="toy", expert=expert, policy=policy, widths=(2, 4),
                     budgets_flops=(1e6, 2e6), samples=100)  # fmt: skip
    demos = record(RecordRequest("toy", expert, 100), tmp_path / "d") if recorded else None
    notes = plan(spec, demos, ()).notes
    assert (
        sum("the expert has a memory, and policy 'mlp' has none" in note for note in notes) == told
    )


@pytest.mark.parametrize(("policy", "told"), [("mlp", 1), ("mlp-lstm", 0)])
def test_a_plan_says_that_a_game_wants_a_memory(policy, told):
    spec = StudySpec(name="recall", game="recall", expert="nobody", policy=policy, widths=(2, 4),
                     recipe=ic.recipe("ppo").to_json(), budgets_flops=(1e8, 2e8))  # fmt: skip
    notes = plan(spec, None, ()).notes
    assert sum("recall does not show all that matters" in note for note in notes) == told
