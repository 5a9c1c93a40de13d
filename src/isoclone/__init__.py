"""isoclone: compute-optimal imitation learning.

How big a model, how many demonstrations, what score, before the compute is spent.

    import isoclone as ic

    game = ic.game("toy")
    demos = ic.record(ic.expert("scripted", game), game, samples=20_000, path="demos/toy")
    study = ic.Study.create("studies/toy", game=game, demos=demos, policy="mlp",
                            widths=[2, 4, 8, 16], budgets_flops=[1e8, 2e8, 5e8, 1e9], seeds=[0])
    study.plan()
    ic.run(study)
    law = ic.fit(study.points())
    forecast = law.forecast(flops=1e10)

Importing this does nothing and is fast; each name brings in its room when first used.
"""

import importlib

from isoclone.base.version import VERSION as __version__

# Public name -> the module it lives in.
_ROOMS = {
    "Ablation": "isoclone.study.ablation",
    "Agent": "isoclone.agents.agent",
    "Demonstrations": "isoclone.demos",
    "ExpertScore": "isoclone.experts",
    "Forecast": "isoclone.base.records",
    "FrameSpec": "isoclone.games",
    "Interval": "isoclone.base.records",
    "IsocloneError": "isoclone.base.errors",
    "Observer": "isoclone.study.session",
    "Point": "isoclone.base.records",
    "Recipe": "isoclone.training.recipes",
    "Run": "isoclone.base.records",
    "ScalingLaws": "isoclone.laws",
    "Session": "isoclone.study.session",
    "Study": "isoclone.study.study",
    "StudySpec": "isoclone.study.spec",
    "Suite": "isoclone.study.suite",
    "TrainedPolicy": "isoclone.agents.checkpoint",
    "demos_from": "isoclone.demos.foreign",
    "evaluate": "isoclone.api",
    "executor": "isoclone.executors",
    "expert": "isoclone.api",
    "export": "isoclone.api",
    "fit": "isoclone.study.fit",
    "game": "isoclone.api",
    "import_demos": "isoclone.demos.foreign",
    "load": "isoclone.api",
    "mixture": "isoclone.demos",
    "policy_flops": "isoclone.api",
    "policy_params": "isoclone.api",
    "recipe": "isoclone.training.recipes",
    "record": "isoclone.api",
    "register_demonstrations": "isoclone.api",
    "register_executor": "isoclone.api",
    "register_expert": "isoclone.api",
    "register_exporter": "isoclone.api",
    "register_game": "isoclone.api",
    "register_import": "isoclone.api",
    "register_law": "isoclone.api",
    "register_policy": "isoclone.api",
    "register_recipe": "isoclone.api",
    "register_section": "isoclone.api",
    "register_study": "isoclone.api",
    "register_verb": "isoclone.api",
    "rollout": "isoclone.api",
    "run": "isoclone.api",
    "score_expert": "isoclone.experts",
    "train": "isoclone.api",
    "train_expert": "isoclone.experts",
    "width_for": "isoclone.api",
}

__all__ = ["__version__", *sorted(_ROOMS)]

TYPE_CHECKING = False  # to type checkers it is true; `typing` itself takes a while to import
if TYPE_CHECKING:
    from typing import Any

    from isoclone.agents.agent import Agent as Agent
    from isoclone.agents.checkpoint import TrainedPolicy as TrainedPolicy
    from isoclone.api import evaluate as evaluate
    from isoclone.api import expert as expert
    from isoclone.api import export as export
    from isoclone.api import game as game
    from isoclone.api import load as load
    from isoclone.api import policy_flops as policy_flops
    from isoclone.api import policy_params as policy_params
    from isoclone.api import record as record
    from isoclone.api import register_demonstrations as register_demonstrations
    from isoclone.api import register_executor as register_executor
    from isoclone.api import register_expert as register_expert
    from isoclone.api import register_exporter as register_exporter
    from isoclone.api import register_game as register_game
    from isoclone.api import register_import as register_import
    from isoclone.api import register_law as register_law
    from isoclone.api import register_policy as register_policy
    from isoclone.api import register_recipe as register_recipe
    from isoclone.api import register_section as register_section
    from isoclone.api import register_study as register_study
    from isoclone.api import register_verb as register_verb
    from isoclone.api import rollout as rollout
    from isoclone.api import run as run
    from isoclone.api import train as train
    from isoclone.api import width_for as width_for
    from isoclone.base.errors import IsocloneError as IsocloneError
    from isoclone.base.records import Forecast as Forecast
    from isoclone.base.records import Interval as Interval
    from isoclone.base.records import Point as Point
    from isoclone.base.records import Run as Run
    from isoclone.demos import Demonstrations as Demonstrations
    from isoclone.demos import mixture as mixture
    from isoclone.demos.foreign import demos_from as demos_from
    from isoclone.demos.foreign import import_demos as import_demos
    from isoclone.executors import executor as executor
    from isoclone.experts import ExpertScore as ExpertScore
    from isoclone.experts import score_expert as score_expert
    from isoclone.experts import train_expert as train_expert
    from isoclone.games import FrameSpec as FrameSpec
    from isoclone.laws import ScalingLaws as ScalingLaws
    from isoclone.study.ablation import Ablation as Ablation
    from isoclone.study.fit import fit as fit
    from isoclone.study.session import Observer as Observer
    from isoclone.study.session import Session as Session
    from isoclone.study.spec import StudySpec as StudySpec
    from isoclone.study.study import Study as Study
    from isoclone.study.suite import Suite as Suite
    from isoclone.training.recipes import Recipe as Recipe
    from isoclone.training.recipes import recipe as recipe


def __getattr__(name: str) -> "Any":
    if name not in _ROOMS:
        raise AttributeError(f"isoclone has no public name '{name}'")
    return getattr(importlib.import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
