"""Who recorded what is never mixed up: an expert is known by what it is made of."""

from __future__ import annotations

import shutil
import sys
import threading
from functools import partial

import numpy as np
import pytest
import torch

import isoclone as ic
from isoclone.base.errors import SpecMismatchError
from isoclone.base.store import read_json
from isoclone.cli import main
from isoclone.demos import RecordRequest, record
from isoclone.experts.identity import identity_of, said

LEFT = 0


def left(observation: np.ndarray) -> int:
    return LEFT


def right(observation: np.ndarray) -> int:
    return 2


class Always:
    """Takes one action, and keeps a log as a real player might."""

    name, lockstep = "always", 1

    def __init__(self, action: int):
        self.action, self.log = action, list[int]()

    def act(self, views):
        self.log.append(len(views))
        return [self.action] * len(views)


def test_what_an_expert_is_made_of_is_its_identity(monkeypatch):
    assert identity_of(left) == identity_of(left) != identity_of(right)
    known = identity_of(left)
    assert (known["module"], known["qualname"]) == (__name__, "left")
    monkeypatch.setattr(f"{__name__}.LEFT", 1)  # what a function refers to
    assert identity_of(left) != known
    one, two = lambda o: 0, lambda o: 1
    assert identity_of(one) != identity_of(two)
    assert identity_of(lambda o, action=0: action) != identity_of(lambda o, action=1: action)
    assert identity_of(partial(right, 1)) != identity_of(partial(right, 2))
    assert identity_of(Always(0)) == identity_of(Always(0)) != identity_of(Always(1))
    nets = [torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)]
    assert identity_of(Always(nets[0])) != identity_of(Always(nets[1]))  # type: ignore[arg-type]


def test_closures_and_settings_count_and_trust_does_not():
    def choosing(action: int):
        return lambda observation: action

    assert identity_of(choosing(0)) == identity_of(choosing(0)) != identity_of(choosing(1))
    assert identity_of("scripted", {"lead": 1}) != identity_of("scripted", {"lead": 0})
    assert identity_of("scripted", {"trust": True}) == identity_of("scripted")
    game = ic.game("toy")
    assert ic.expert("scripted", game).identity == identity_of("scripted")  # type: ignore[attr-defined]


def test_what_cannot_be_known_is_said():
    lock = threading.Lock()
    assert "no identity can be had of _thread.lock" in said(identity_of(lambda o: lock and 0))


def test_files_are_known_by_their_contents(tmp_path):
    for name, text in (("a.zip", "one"), ("b.zip", "one"), ("c.zip", "two")):
        (tmp_path / name).write_text(text)
    a, b, c = (identity_of(str(tmp_path / name)) for name in ("a.zip", "b.zip", "c.zip"))
    assert a == b != c


def test_another_function_is_refused_naming_both(tmp_path):
    game = ic.game("toy")
    demos = ic.record(ic.expert(left, game), game, samples=200, path=tmp_path)
    assert read_json(tmp_path / "request.json")["identity"] == demos.expert_identity
    with pytest.raises(SpecMismatchError, match=r"another expert .*qualname left.*qualname right"):
        ic.record(ic.expert(right, game), game, samples=200, path=tmp_path)
    assert ic.record(ic.expert(left, game), game, samples=200, path=tmp_path).samples


def test_a_recording_is_not_gone_on_with_by_another(tmp_path):
    game = ic.game("toy")
    ic.record(left, game, samples=200, path=tmp_path)  # type: ignore[arg-type]
    (tmp_path / "demonstrations.json").unlink()
    for other in (lambda o: 0, right, "scripted"):
        with pytest.raises(SpecMismatchError, match="another expert"):
            ic.record(other, game, samples=200, path=tmp_path)  # type: ignore[arg-type]


def test_what_playing_does_to_an_object_does_not_make_it_another(tmp_path):
    player = Always(1)
    request = RecordRequest("toy", player, 200)
    record(request, tmp_path)
    assert player.log
    assert record(request, tmp_path).samples >= 200
    player.action = 2
    with pytest.raises(SpecMismatchError, match="another expert"):
        record(request, tmp_path)


FILE = """
from helper import action

def forward(observation):
    return action()

class Careful:
    name, lockstep = "careful", 1
    def __init__(self, game, push=0):
        self.push = push
    def act(self, views):
        return [self.push] * len(views)

expert = forward
"""


def test_a_python_file_has_experts_and_imports_its_neighbours(tmp_path):
    (tmp_path / "helper.py").write_text("def action():\n    return 2\n")
    file = tmp_path / "players.py"
    file.write_text(FILE)
    game = ic.game("toy")
    careful = ic.expert(f"{file}:Careful", game, push=1)
    assert careful.act([1, 2]) == [1, 1]
    assert careful.identity["settings"] == {"push": 1}
    forward = ic.expert(f"{file}:forward", game)
    demos = ic.record(str(file), game, samples=100, path=tmp_path / "demos")
    assert {int(a) for episode in demos for a in episode.actions} == {2}  # type: ignore[attr-defined]
    assert forward.name == "forward"
    file.write_text(FILE.replace("return action()", "return 0 * action()"))
    with pytest.raises(SpecMismatchError, match="another expert"):
        ic.record(str(file), game, samples=100, path=tmp_path / "demos")


def test_another_zip_under_the_same_name_is_refused(tmp_path, capsys):
    sb3 = pytest.importorskip("stable_baselines3", reason="needs the extra sb3")
    file, out = tmp_path / "cart.zip", tmp_path / "demos"

    def recorded(place) -> int:
        words = ["demos", "record", "gym/CartPole-v1", "--samples", "60", "--executor", "serial"]
        return main([*words, "--expert", str(place), "--trust", "--out", str(out)])

    sb3.A2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu").save(file)
    assert recorded(file) == 0
    assert recorded(shutil.copy(file, tmp_path / "moved.zip")) == 0  # its name does not count
    sb3.A2C("MlpPolicy", "CartPole-v1", seed=1, device="cpu").save(file)
    assert recorded(file) == 2
    assert "holds demonstrations of another expert" in capsys.readouterr().err
    (out / "demonstrations.json").unlink()  # as if it had been interrupted
    assert recorded(file) == 2


USES = """
import numpy as np
import {module}

WEIGHTS = "global.npy"

class Uses:
    name, lockstep, observes = "uses", 1, "frame"
    table = "table.npy"

    def __init__(self, path="w.npy", *, other=None):
        self.path = path, other, WEIGHTS

    def reset(self, n):
        pass

    def act(self, observations):
        return np.array([{module}.choose(o) for o in observations])
"""


@pytest.mark.parametrize(
    "changed", ["{}.py", "{}_below/__init__.py", "{}_below/deep.py", "w.npy", "table.npy",
                "global.npy", "other.npy"]
)  # fmt: skip
def test_files_that_an_expert_uses_are_part_of_who_it_is(changed, tmp_path, capsys):
    module = f"helper_{abs(hash(str(tmp_path)))}"
    changed = changed.format(module)
    (tmp_path / f"{module}_below").mkdir()
    (tmp_path / "players.py").write_text(USES.format(module=module))
    texts = {
        f"{module}.py": f"import {module}_below as b\n\ndef choose(o):\n    return b.deep()\n",
        f"{module}_below/__init__.py": "from .deep import deep\n",
        f"{module}_below/deep.py": "def deep():\n    return 1\n",
        **dict.fromkeys(("w.npy", "table.npy", "global.npy", "other.npy"), "weights"),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)

    def recorded() -> int:
        words = ["demos", "record", "toy", "--samples", "60", "--executor", "serial"]
        expert = ["--expert", f"{tmp_path}/players.py:Uses", "--options", "other=other.npy"]
        return main([*words, *expert, "--out", str(tmp_path / "demos")])

    assert recorded() == 0
    assert recorded() == 0
    (tmp_path / changed).write_text(f"{texts[changed]}# another\n")
    capsys.readouterr()
    assert recorded() == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "holds demonstrations of another expert" in said
    assert (changed if changed != "other.npy" else "other={'file'") in said


INSIDE = """
class Lazy:
    name, lockstep = "lazy", 1

    def __init__(self, game):
        pass

    {decorator}
    def chosen({self}):
        {imports}
        return {call}

    def act(self, views):
        return [self.chosen{parentheses}] * len(views)
"""
IMPORTS = {
    "import": ("import {m}", "{m}.choose()"),
    "from": ("from {m} import choose", "choose()"),
    "from a package": ("from {m}_below import deep", "deep.deep()"),
    "a package's module": ("import {m}_below.deep as d", "d.deep()"),
    "by name": ("from importlib import import_module", "import_module('{m}').choose()"),
    "inside a function inside": ("def f(): import {m} as m; return m.choose()", "f()"),
}
DECORATORS = {
    "": ("", "self", "()"),
    "static": ("@staticmethod", "", "()"),
    "class": ("@classmethod", "cls", "()"),
    "property": ("@property", "self", ""),
}


@pytest.mark.parametrize("imports", IMPORTS)
@pytest.mark.parametrize("decorator", DECORATORS)
def test_what_is_imported_within_a_function_counts(imports, decorator, tmp_path):
    module = f"lazy_{abs(hash(str(tmp_path)))}"
    how, own, parentheses = DECORATORS[decorator]
    statement, call = (text.format(m=module) for text in IMPORTS[imports])
    (tmp_path / "players.py").write_text(
        INSIDE.format(
            decorator=how, self=own, imports=statement, call=call, parentheses=parentheses
        )
    )
    (tmp_path / f"{module}_below").mkdir()
    texts = {
        f"{module}.py": f"def choose():\n import {module}_below.deep as d\n return d.deep()\n",
        f"{module}_below/__init__.py": "",
        f"{module}_below/deep.py": "def deep():\n    return 1\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    reference = f"{tmp_path}/players.py:Lazy"
    before = identity_of(reference)
    assert module not in sys.modules  # nothing is run to know it
    (tmp_path / f"{module}_below/deep.py").write_text("def deep():\n    return 2\n")
    after = identity_of(reference)
    assert before["files"].keys() == after["files"].keys()
    assert {k for k in before["files"] if before["files"][k] != after["files"][k]} == {
        f"{module}_below/deep.py"
    }
    ic.expert(reference, ic.game("toy"))
    assert identity_of(reference) == after
