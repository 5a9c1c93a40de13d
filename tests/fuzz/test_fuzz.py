"""A sample of what `make fuzz` does in full, and what it once broke: see `targets.py`.

What ruined recordings once broke is in `tests/demos/test_nld.py` and `test_nld_where.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from isoclone.agents.checkpoint import load_checkpoint
from isoclone.base.errors import CheckpointError, IsocloneError
from isoclone.base.store import read_json
from isoclone.demos import open_cache
from isoclone.study.study import Study

CAMPAIGN = Path(__file__).with_name("campaign.py")


@pytest.mark.parametrize(
    "kinds",
    [
        ["demonstrations", "specs", "fields", "checkpoints", "studies", "terminal"],
        ["ttyrecs", "xlogfiles", "games"],
        ["foreign-datasets", "observation-streams", "expert-files"],
    ],
    ids=["toy", "nethack", "foreign"],
)
def test_a_sample_of_ruined_inputs_ends_in_a_clear_error_or_a_right_answer(kinds):
    if "ttyrecs" in kinds:
        pytest.importorskip("nle", reason="the extra 'nethack' is not installed")
    if "expert-files" in kinds:
        for package in ("av", "h5py", "minari", "stable_baselines3", "zarr"):
            pytest.importorskip(package, reason="one of the extras is not installed")
    command = [sys.executable, CAMPAIGN, "--inputs", "12", "--seed", "7", "--json", "--kinds"]
    done = subprocess.run([*command, *kinds], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    tallies = {kind: result["tally"] for kind, result in json.loads(done.stdout).items()}
    assert {sum(tally.values()) for tally in tallies.values()} == {12}
    assert all(set(tally) <= {"right", "refused"} for tally in tallies.values())


# ---------------------------------------------------------------------- once broken

SPEC = {
    "widths": [2, [4], 8],
    "budgets_flops": [[1e6, 3e6]],
    "episodes": "4",
    "extend": None,
    "seeds": "012",
    "adaptive": 1,
    "policy": ["mlp"],
    "policy_options": {"x": [1]},
    "game_options": {"max_steps": [30]},
    "recipe": [],
    "name": {"a": 1},
    "demos": 3,
}


@pytest.mark.parametrize("field", SPEC)
def test_wrong_types_in_a_specification(study_copy, field):
    data = read_json(study_copy / "study.json")
    data["spec"][field] = SPEC[field]
    (study_copy / "study.json").write_text(json.dumps(data))
    (study_copy / "study.copy.json").unlink()
    with pytest.raises(IsocloneError) as caught:
        Study.open(study_copy).plan()  # what a policy or a game refuses is found when it is made
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ['{"format": [1], "spec": {}}', '{"spec": [{}]}', '{"spec": ' + "[" * 100_000, "[]"]
)
def test_wrong_shapes_of_a_specification(tmp_path, text):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(IsocloneError):
        Study.open(tmp_path)


@pytest.mark.parametrize("game", [b"x", 4, (1e6,), [2.0]])
def test_a_game_that_is_none(tmp_path, game):
    with pytest.raises(IsocloneError, match="game must be a game or its name"):
        Study.create(tmp_path / "s", game=game, widths=[2, 4, 8], budgets_flops=[1e7])


def test_a_flipped_bit_in_a_checkpoint(study_copy):
    path = next(study_copy.glob("runs/*/checkpoints/*.safetensors"))
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="not what was written"):
        load_checkpoint(path)


@pytest.mark.parametrize("name", ["codes.bin", "actions.npy", "mean.npy", "done.json"])
def test_a_torn_cache_is_made_again(study_copy, name):
    demos = Study.open(study_copy).demos()
    before = open_cache(demos, "standardise", "rows")
    codes, actions = before.codes.copy(), before.actions.copy()
    for path in study_copy.glob(f"demos/cache/*/{name}"):
        path.write_bytes(path.read_bytes()[:-3])
    after = open_cache(demos, "standardise", "rows")
    assert (after.codes == codes).all()
    assert (after.actions == actions).all()
