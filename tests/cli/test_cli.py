"""The command line: one JSON document on stdout, one line on stderr, telling exit codes."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tyro.conf import Positional

from isoclone import __version__
from isoclone.agents.checkpoint import load_tensors, save_tensors
from isoclone.base import registry
from isoclone.base.errors import SpecError
from isoclone.base.store import read_json, write_json
from isoclone.base.tables import VIEWERS
from isoclone.cli import groups_of, main, reference, verbs
from isoclone.study.spec import FORECAST_FACTOR
from isoclone.study.study import Study


def run(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "isoclone", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, **options)  # type: ignore[call-overload]


@pytest.fixture
def call(capfd):
    """The command line in this process: (exit code, stdout, stderr), both down to the bytes."""

    def calling(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as left:
            code = int(left.code or 0)
        said = capfd.readouterr()
        return code, said.out, said.err

    return calling


def last_checkpoint(study: Path) -> Path:
    return study / str(Study.open(study).points()[-1].checkpoint)


# ---------------------------------------------------------------------- answers

CHEAP = {
    "run": "run {study} --workers 1 --json",
    "plan": "plan {study} --json",
    "status": "status {study} --json",
    "report": "report {study} --json",
    "demos record": "demos record toy --out {new}/demos --samples 300 --executor serial --json",
    "demos show": "demos show {study} --json",
    "train": "train {study} --width 3 --flops 1e6 --json",
    "evaluate": "evaluate {weights} --episodes 2 --demos {study} --json",
    "play": "play {weights} --out {new}/play.mp4 --json",
    "games": "games toy --json",
    "expert score": "expert score scripted toy --episodes 2 --json",
    "laws fit": "laws fit {study}/points.csv --json",
    "laws forecast": "laws forecast {study}/points.csv --flops 1e9 --json",
}


@pytest.mark.parametrize("verb", CHEAP)
def test_json_is_one_document_on_stdout(verb, call, study_copy, tmp_path):
    places = {"study": study_copy, "new": tmp_path, "weights": last_checkpoint(study_copy)}
    code, out, err = call(*CHEAP[verb].format(**places).split())
    assert code == 0, err
    answer = json.loads(out)  # refuses anything before or after the document
    assert answer
    assert "NaN" not in out


@pytest.mark.parametrize("verb", [v for v in CHEAP if v not in ("run", "demos record", "plan")])
def test_without_json_there_is_text_for_people(verb, call, study_copy, tmp_path):
    places = {"study": study_copy, "new": tmp_path, "weights": last_checkpoint(study_copy)}
    words = CHEAP[verb].format(**places).removesuffix(" --json").split()
    code, out, err = call(*words)
    assert code == 0, err
    assert out.strip()


def test_the_emulator_and_the_encoder_of_films_keep_stdout_clean(tmp_path):
    """In a process of its own: what libraries write past Python counts too."""
    words = "demos record atari/Breakout --samples 40 --max-steps 30 --workers 1 --json --out"
    done = run(*words.split(), tmp_path / "demos")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["truncated"] == 2


def test_running_a_finished_study_shows_the_closing_table(call, finished_study):
    code, out, _ = call("run", finished_study, "--workers", 1)
    assert code == 0
    for part in ("N_opt ~ C^", "D_opt ~ C^", "forecast", "measured", "report.html", "points.csv"):
        assert part in out


@pytest.mark.parametrize(
    ("excludes", "says"),
    [
        ({"dev_loss": 0.0, "return_mean": 0.0}, "dev_loss says nothing"),
        ({"dev_loss": 1.0, "return_mean": 1.0}, None),
        ({"dev_loss": 1.0, "return_mean": 0.0}, "return_mean says nothing"),
    ],
)
def test_a_forecast_that_is_required_must_have_said_something(call, study_copy, excludes, says):
    found = read_json(study_copy / "forecast.json")
    found["forecast"]["excludes"] = excludes
    for name in excludes:
        value = found["point"][name]
        found["forecast"][name].update(value=value, low=value - 1, high=value + 1)
    held = {name: True if share else None for name, share in excludes.items()}
    write_json(study_copy / "forecast.json", {**found, "holds": held})
    code, out, err = call("run", study_copy, "--executor", "serial", "--require-forecast")
    assert code == (0 if says is None else 1)
    assert says is None or says in err
    assert ("says nothing" in out) == (says is not None)


def test_a_forecast_made_after_its_agent_is_no_test_anywhere(call, study_copy):
    (study_copy / "forecast.json").unlink()
    (study_copy / "seconds" / "forecast.json").unlink()
    (study_copy / "report.html").unlink()
    code, out, err = call("run", study_copy, "--executor", "serial", "--require-forecast")
    assert code == 1
    assert "dev_loss not a test" in err
    assert "another forecast was lost" in out
    page = (study_copy / "report.html").read_text()
    assert "which does not test the forecast" in page
    assert "It is not a test: another forecast was lost" in page
    assert "It was written down on" not in page


def test_a_study_file_with_changes_is_another_study(call, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from isoclone.study.builtins import builtin\nstudy = builtin('toy').replace(name='mine')\n"
    )
    code, out, _ = call("plan", file, "--widths", 2, 3, 4, "--seeds", 5, "--json")
    planned = json.loads(out)
    assert code == 0
    assert [size["width"] for size in planned["sizes"]] == [2, 3, 4]
    assert planned["seeds"] == [5]
    assert planned["name"] == "mine"


def test_a_studys_own_table_is_read_without_a_remark(call, finished_study):
    code, _, err = call("laws", "fit", finished_study / "points.csv")
    assert (code, err) == (0, "")


def test_other_budgets_have_a_forecast_of_their_own(call):
    for flags, forecast in ((("--forecast-flops", 9e11), 9e11), ((), 2e11 * FORECAST_FACTOR)):
        code, out, err = call("plan", "nethack", "--budgets", 1e11, 2e11, *flags, "--json")
        assert code == 0, err
        assert json.loads(out)["forecast_flops"] == pytest.approx(forecast)


def test_a_study_is_evaluated_by_its_forecast_agent(call, study_copy):
    agent = Study.open(study_copy).points("forecast")[0]
    code, _, err = call("train", study_copy, "--width", 2, "--flops", 2 * agent.budget_flops)
    assert code == 0, err
    code, out, err = call("evaluate", study_copy, "--episodes", 1, "--json")
    assert code == 0, err
    assert json.loads(out)["run_id"] == agent.run_id
    (study_copy / agent.checkpoint).unlink()
    code, _, err = call("evaluate", study_copy, "--episodes", 1, "--json")
    assert code == 0, err


def test_training_that_fails_ends_as_a_failure(call, study_copy, monkeypatch):
    def no_room(*args: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr("isoclone.study.worker.train_to_budgets", no_room)
    code, out, err = call("train", study_copy, "--width", 4, "--flops", 1.5e6, "--json")
    point = json.loads(out)
    assert (code, point["status"]) == (1, "failed")
    assert f"isoclone: run {point['run_id']} failed: MemoryError: no room" in err


def test_a_study_whose_agent_failed_ends_as_a_failure(call, study_copy, monkeypatch):
    def no_room(*args: object) -> None:
        raise MemoryError("no room")

    found = read_json(study_copy / "forecast.json")
    agent = Study.open(study_copy).points("forecast")[0]
    Study.open(study_copy).folder.run(agent.run_id).point(agent.budget_flops).unlink()
    failed = {**found["point"], "status": "failed", "reason": "no room"}
    write_json(study_copy / "forecast.json", {**found, "by_seed": [failed]})
    monkeypatch.setattr("isoclone.study.worker.train_to_budgets", no_room)
    code, out, err = call("run", study_copy, "--executor", "serial", "--json")
    assert (code, json.loads(out)["point"]["status"]) == (1, "failed")
    assert "isoclone: the forecast agent failed: MemoryError: no room" in err


def test_status_of_a_study_that_has_not_begun(call, tmp_path):
    from support import tiny_spec

    Study.create(tmp_path / "s", tiny_spec())
    code, out, _ = call("status", tmp_path / "s", "--json")
    state = json.loads(out)
    assert code == 0
    assert (state["points"], state["demos"], state["sweep_complete"]) == (0, False, False)
    assert len(state["next"]) == 3


LOADED = """
import sys
from isoclone.cli import main
main(sys.argv[1:])
print(*sorted({"torch", "pandas", "scipy.stats"} & set(sys.modules)), file=sys.stderr, end="")
"""


def loaded_by(*words: object) -> str:
    """Run a verb; return which libraries that are slow to import it has loaded."""
    command = [sys.executable, "-c", LOADED, *map(str, words)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return told.rpartition("\n")[2]


def test_a_report_says_what_it_lacks(study_copy, capfd):
    assert main(["report", str(study_copy)]) == 0
    whole = capfd.readouterr().err
    (study_copy / "forecast.json").write_text("{")
    assert main(["report", str(study_copy)]) == 0
    said = capfd.readouterr().err.replace(whole, "")
    assert "forecast.json is damaged" in said
    assert main(["report", str(study_copy), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert any("forecast.json is damaged" in each for each in told["missing"])


def test_looking_at_a_study_loads_nothing_slow(tmp_path, study_copy):
    from support import tiny_spec

    Study.create(tmp_path / "s", tiny_spec())
    assert loaded_by("status", tmp_path / "s") == ""
    assert loaded_by("report", study_copy) == ""
    assert loaded_by("plan", study_copy) == ""
    assert loaded_by("run", study_copy, "--executor", "serial") == ""  # nothing is left to do


def test_status_tells_how_a_point_is_measured_again(call, study_copy):
    point = Study.open(study_copy).points()[0]
    code, out, _ = call("status", study_copy, "--how", point.run_id, "--json")
    told = {row["budget_flops"]: row for row in json.loads(out)["points"]}[point.budget_flops]
    assert code == 0
    remove, measure = told["command"].split(" && ")
    assert remove == f"rm {told['file']}"
    Path(told["file"]).unlink()
    code, again, err = call(*measure.removeprefix("isoclone ").split(), "--json")
    assert code == 0, err
    assert json.loads(again) == point.to_json()
    assert told["command"] in call("status", study_copy, "--how", point.run_id)[1]
    assert call("status", study_copy, "--how", "nobody")[0] == 2


@pytest.mark.parametrize("verb", list(verbs()))
def test_every_verb_has_help(verb, call):
    code, out, _ = call(*verb.split(), "--help")
    assert code == 0
    assert "--json" in out


@pytest.mark.parametrize("group", ["", *dict.fromkeys(g for v in verbs() for g in groups_of(v))])
def test_the_help_of_a_group_is_one_screen(group, call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    code, out, _ = call(*group.split(), "--help")
    lines = out.splitlines()
    assert code == 0
    assert len(lines) <= 40
    assert max(map(len, lines[2:])) <= 100  # the usage line names every verb and is not wrapped
    below = [v for v in verbs() if f"{v} ".startswith(f"{group} ".lstrip())]
    assert all(verb.removeprefix(group).split()[0] in out for verb in below)


def test_what_an_import_leaves_out_is_said_once(call, tmp_path):
    ends, broken = np.arange(4, 17, 4), np.zeros((16, 2), np.float32)
    broken[2] = np.nan
    columns = {"observations": broken, "actions": np.arange(16) % 2, "episode_ends": ends}
    np.savez(tmp_path / "a.npz", **columns)
    for flags in ([], ["--json"]):
        words = "demos", "import", "arrays", tmp_path / "a.npz", "--out", tmp_path / f"{flags}"
        code, out, err = call(*words, *flags)
        assert code == 0
        assert (out + err).count("left out 1: episode 0") == 1


def test_the_version_is_printed(call):
    assert call("--version") == (0, f"isoclone {__version__}\n", "")


def test_the_reference_is_made_from_the_help():
    written = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    assert written == reference.page(), "run `make docs`"


def shout(word: Positional[str], *, json: bool = False) -> None:
    """Shout a word.

    Args:
        word: what to shout, which
            may be long.
        json: print one JSON document.
    """
    sys.stdout.write(f"{word.upper()}\n")


def test_a_plugin_adds_verbs_to_a_group_and_of_its_own(call, monkeypatch):
    monkeypatch.setattr(registry, "VERBS", dict(registry.VERBS))
    monkeypatch.setattr(registry, "BROKEN_PLUGINS", {})
    registry.add_verb("demos shout", shout)
    registry.add_verb("mine shout", f"{__name__}:shout")
    registry.add_verb("demos show more", shout)  # a verb of isoclone's would become a group
    registry.add_verb("mine lost", "nowhere.at:all")
    if __name__ not in sys.modules:
        monkeypatch.setitem(sys.modules, __name__, sys.modules[shout.__module__])
    assert call("demos", "shout", "hey")[:2] == (0, "HEY\n")
    assert call("mine", "shout", "hey")[:2] == (0, "HEY\n")
    assert "shout" in call("demos", "--help")[1]
    assert "may be long" in call("demos", "shout", "--help")[1]
    assert set(registry.BROKEN_PLUGINS) == {"verb demos show more", "verb mine lost"}
    for words, function in (("Demos", shout), ("a  b", shout), ("a", lambda: None)):
        with pytest.raises(SpecError):
            registry.add_verb(words, function)


class Wall:
    """A viewer of files that end in .wall."""

    def accepts(self, source: Path, game_name: str | None) -> bool:
        return source.suffix == ".wall" or game_name == "toy"

    def show(self, source: Path, **flags: object) -> None:
        sys.stdout.write(f"{source.name} {flags['policy'] is not None} {flags['at']}\n")


def test_play_hands_what_a_viewer_accepts_to_it(call, study_copy, tmp_path, monkeypatch):
    monkeypatch.setattr(VIEWERS, "_makers", {"wall": Wall})
    assert call("play", tmp_path / "a.wall", "--at", 3)[:2] == (0, "a.wall False 3\n")
    weights = last_checkpoint(study_copy)
    assert call("play", weights)[:2] == (0, f"{weights.name} True 0\n")


def test_recording_whole_episodes_with_settings_of_game_and_expert(call, tmp_path):
    words = ["demos", "record", "toy", "--episodes", 4, "--executor", "serial", "--json"]
    settings = ["--game-options", "max_steps=20", "--out", tmp_path / "demos"]
    code, out, err = call(*words, *settings)
    told = json.loads(out)
    assert code == 0, err
    assert len(told["episodes"]) == 4
    assert told["game_options"] == {"max_steps": 20}
    assert call(*words, *settings)[0] == 0
    assert (
        "unexpected keyword" in call(*words, "--options", "nonsense=1", "--out", tmp_path / "x")[2]
    )


def test_settings_of_game_and_expert_are_a_studys(call):
    words = ["plan", "toy", "--game-options", "max_steps=50", "--json"]
    code, _, err = call(*words)
    assert code == 0, err
    code, _, err = call("plan", "toy", "--options", "nonsense=1")
    assert code == 2
    assert "nonsense" in err
    assert call("plan", "toy", "--game-options", "nonsense=1")[0] == 2


def test_names_are_listed_by_kind(call):
    code, out, _ = call("games", "--json")
    known = json.loads(out)
    assert code == 0
    assert set(known) == {"games", "experts", "policies", "laws", "recipes", "studies"}
    assert all(known.values())


def test_a_mistake_is_one_line_where_stdout_is_not_utf8():
    done = run("demos", "shw", env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    said = "Unrecognized options: shw; there are record, mix, show"
    assert done.returncode == 2
    assert done.stderr.startswith(f"isoclone: {said}")
    assert len(done.stderr.splitlines()) == 1


# ---------------------------------------------------------------------- mistakes

USAGE = {
    "unknown game": "demos record atari/Brekout --out {new}/d",
    "unknown expert": "demos record toy --expert scriptd --out {new}/d",
    "unknown study": "run breakot",
    "unknown study file": "run {new}/nothing.py",
    "unknown recipe": "run toy --out {new}/s --recipe leen",
    "unknown executor": "demos record toy --out {new}/d --executor slurmm",
    "unknown device": "run toy --out {new}/s --device quantum",
    "no such study": "status {new}",
    "width 0": "run toy --out {new}/s --widths 0 2 4",
    "two sizes": "run toy --out {new}/s --widths 2 4",
    "budget below a batch": "run toy --out {new}/s --budgets 10 1e9",
    "budgets out of order": "run toy --out {new}/s --budgets 1e9 1e8",
    "one episode": "demos record toy --out {new}/d --episodes 1",
    "samples and episodes": "demos record toy --out {new}/d --samples 9 --episodes 3",
    "an option without a value": "demos record toy --out {new}/d --game-options max_steps",
    "a verb that is not in a group": "demos shw",
    "no verb of a group": "laws",
    "a run that is not there": "status {study} --how nobody",
    "no samples": "demos record toy --out {new}/d --samples 0",
    "foreign directory": "run toy --out {foreign}",
    "foreign demos directory": "demos record toy --out {foreign}",
    "other study": "run toy --out {study} --samples 4001",
    "changes to a directory": "run {study} --seeds 3",
    "changes to a directory's plan": "plan {study} --out {new}",
    "a directory and another place for the doctor": "doctor {study} --out {new}",
    "no workers for the doctor": "doctor --workers -1",
    "no workers for the doctor of a study": "doctor toy --workers 0",
    "no episodes": "evaluate {weights} --episodes 0",
    "unknown sampling": "evaluate {weights} --episodes 1 --sampling guess",
    "a pickled expert": "demos record toy --expert {pickled} --out {new}/d",
    "training below a batch": "train {study} --width 4 --flops 10",
    "training width 0": "train {study} --width 0 --flops 1e7",
    "training seed below 0": "train {study} --width 4 --flops 1e7 --seed -2",
    "training seeds too large": "run toy --out {new}/s --seeds 5000000000000000000",
    "a seed below 0": "evaluate {weights} --episodes 1 --seed -1",
    "a film's seed below 0": "play {weights} --out {new}.mp4 --seed -1",
    "an expert's seed below 0": "expert score scripted toy --episodes 1 --seed -1",
    "a recording's seed is too large": "demos record toy --out {new}/d --seed 9223372036854775807",
    "an expert trained from a seed below 0": "expert train toy --out {new} --steps 9 --seed -1",
    "an expert in an object store": "expert train toy --out s3://bucket/expert --steps 9",
    "a recording in an object store": "demos record toy --out s3://bucket/demos --samples 9",
    "a film in an object store": "play {weights} --out s3://bucket/play.mp4",
    "a bootstrap's seed below 0": "laws fit {study}/points.csv --seed -1",
    "no expert's score": "laws fit {study}/points.csv --expert-return nan",
    "a back-test from nothing": "laws backtest {study}/points.csv --min-train 0",
    "no frames": "play {new}.ttyrec3.bz2 --frames 0",
    "a recording as a film": "play {new}.ttyrec3.bz2 --out {new}.mp4",
    "no dev samples": "evaluate {weights} --demos {study} --episodes 1 --dev-samples 0",
    "a setting twice": "evaluate {weights} --sampling temperature=1,temperature=2",
}


@pytest.mark.parametrize("name", USAGE)
def test_a_mistake_is_one_line_and_exit_code_2(name, call, study_copy, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("")
    (tmp_path / "model.zip").write_bytes(b"PK")
    places = {
        "new": tmp_path / "new",
        "foreign": foreign,
        "study": study_copy,
        "weights": last_checkpoint(study_copy),
        "pickled": tmp_path / "model.zip",
    }
    code, out, err = call(*USAGE[name].format(**places).split())
    assert code == 2, err
    assert out == ""
    complaint = [line for line in err.splitlines() if line.startswith("isoclone: ")]
    assert len(complaint) == 1
    assert "Traceback" not in err
    assert sorted(p.name for p in foreign.iterdir()) == ["thesis.tex"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("study = 3", "must set `study`"),
        ("study = ", "cannot be run: SyntaxError"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
        ("1 / 0", "ZeroDivisionError"),
        ("import nonsense", "nonsense"),
        ("import sys; sys.exit(0)", "line 1, called sys.exit(0)"),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "run", "doctor"])
def test_a_study_file_that_cannot_be_run_is_named(verb, text, said, call, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(text)
    code, _, err = call(verb, file)
    assert code == 2
    assert said in err
    assert "mine.py" in err
    assert len(err.splitlines()) == 1


def test_ctrl_c_in_a_study_file_is_ctrl_c(call, tmp_path):
    (tmp_path / "mine.py").write_text("raise KeyboardInterrupt")
    assert call("plan", tmp_path / "mine.py")[0] == 130


@pytest.mark.parametrize(
    ("words", "stopped_in"),
    [
        (("expert", "score", "scripted", "toy"), "isoclone.experts.score_expert"),
        (("run", "gym/CartPole-v1", "--expert", "random"), "isoclone.study.calibrate.calibrated"),
    ],
)
def test_ctrl_c_where_nothing_is_kept_says_so(words, stopped_in, call, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stopped_in, stop)
    code, _, err = call(*words)
    assert code == 130
    assert err.splitlines()[-1] == (
        "isoclone: stopped; nothing was kept, the same command begins anew"
    )


def test_a_family_of_names_is_not_proposed_for_itself(call):
    for words, kind in (("run",), "study"), (("demos", "record"), "game"):
        code, _, err = call(*words, "atari/", "--out", "x")
        assert code == 2
        assert f"isoclone: unknown {kind} 'atari/'; did you mean atari/<name>" in err


def test_a_policy_that_crashes_is_named_with_its_width(call, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(CRASHING)
    code, _, err = call("plan", file)
    said = "policy 'crashing' at width 2 failed: RuntimeError: boom (tried 3 times)"
    assert (code, err) == (1, f"isoclone: measuring the speed of {said}\n")


CRASHING = """
import torch
from isoclone.study.builtins import builtin
from isoclone.policies import POLICIES, make_policy

def crashing(width, frame, n_actions):
    policy = make_policy("mlp", width, frame, n_actions)
    forward = policy.forward
    def crash(frames):
        if len(frames) > 2:  # more than what FLOPs are counted with
            raise RuntimeError("boom")
        return forward(frames)
    policy.forward = crash
    return policy

POLICIES.add("crashing", crashing)  # unchecked: it crashes
study = builtin("toy").replace(policy="crashing")
"""


def test_who_made_a_study_is_said_of_names_that_its_file_could_register(
    call, study_copy, monkeypatch
):
    monkeypatch.delenv("ISOCLONE_STUDY_FILE", raising=False)
    write_json(study_copy / "made_by.json", {"file": "mine.py"})
    for flags in (("--device", "x"), ("--group", "x")):
        code, _, err = call("laws", "plan", study_copy / "points.csv", "--target-loss", 0.5, *flags)
        assert code == 2
        assert "unknown" in err
        assert "made by" not in err
    spec = read_json(study_copy / "study.json")
    spec["spec"]["game"] = "mine"
    write_json(study_copy / "study.json", spec)
    assert f"{study_copy} was made by mine.py" in call("status", study_copy)[2]


def test_play_names_the_file_that_made_a_study_too(call, study_copy):
    """The policy is one that only the study's file registers: its checkpoints say so."""
    write_json(study_copy / "made_by.json", {"file": "mine.py"})
    for path in study_copy.glob("runs/*/checkpoints/*.safetensors"):
        tensors, metadata = load_tensors(path)
        metadata["run"]["policy"] = "mine"
        save_tensors(path, tensors, metadata)
    code, _, err = call("play", study_copy)
    assert code == 1
    assert "unknown policy 'mine'" in err
    assert f"{study_copy} was made by mine.py: set ISOCLONE_STUDY_FILE=mine.py" in err


def damage_demos(study):
    path = study / "demos" / "episodes" / "000001.parquet"
    path.write_bytes(path.read_bytes()[:-9])


def newer_format(study):
    write_json(study / "study.json", {**read_json(study / "study.json"), "format": 99})


def damage_point(study):
    next(study.glob("runs/*/points/*.json")).write_text("{")


def damage_weights(study):
    path = last_checkpoint(study)
    path.write_bytes(path.read_bytes()[:-9])
    shutil.copy(path, study / "weights.safetensors")


def damage_forecast(study):
    (study / "forecast.json").write_text("[]")


FAILURES = {
    "damaged demos shown": (damage_demos, "demos show {study}"),
    "newer format": (newer_format, "status {study}"),
    "damaged forecast in its state": (damage_forecast, "status {study}"),
    "damaged point": (damage_point, "status {study}"),
    "damaged weights": (damage_weights, "evaluate {study}/weights.safetensors --episodes 1"),
    "a file in the way": (
        lambda study: None,
        "demos record toy --out {study}/study.json/d --samples 9",
    ),
    "a file in the way of a study": (lambda study: None, "run toy --out {study}/study.json/s"),
    "no weights": (lambda study: None, "play {study}/nothing.safetensors"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_one_line_and_exit_code_1(name, call, study_copy):
    spoil, words = FAILURES[name]
    spoil(study_copy)
    code, out, err = call(*words.format(study=study_copy).split())
    assert code == 1, err
    assert out == ""
    assert len([line for line in err.splitlines() if line.startswith("isoclone: ")]) == 1
    assert "Traceback" not in err


# ---------------------------------------------------------------------- no space left


def mounted(folder: Path, megabytes: float) -> bool:
    words = ["mount", "-t", "tmpfs", "-o", f"size={int(megabytes * 1024)}k", "tmpfs", str(folder)]
    return subprocess.run(words, capture_output=True).returncode == 0


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    said = [line for line in done.stderr.splitlines() if line.startswith("isoclone: ")]
    assert len(said) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return said[0]


@pytest.mark.parametrize("megabytes", [1.0, 2.0])
def test_no_space_left_is_one_line_and_nothing_is_lost(tmp_path, finished_study, megabytes):
    """Recording, expanding or training meets a full disk; with room again it goes on."""
    if os.name != "posix" or not mounted(tmp_path, megabytes):
        pytest.skip("a small file system cannot be mounted here")
    try:
        file = tmp_path / "t.py"
        file.write_text("from support import tiny_spec\nstudy = tiny_spec()\n")
        paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        here = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        words = ("run", file, "--out", tmp_path / "s", "--workers", 1)
        full = run(*words, env=here)
        assert full.returncode == 1, full.stderr
        assert "o space left" in one_line(full)
        assert not list(tmp_path.rglob(".*.tmp"))
        remount = ["mount", "-o", "remount,size=200m", str(tmp_path)]
        subprocess.run(remount, check=True, capture_output=True)
        done = run(*words, env=here)
        assert done.returncode == 0, done.stderr
        same = (tmp_path / "s" / "points.csv").read_bytes()
        assert same == (finished_study / "points.csv").read_bytes()
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], capture_output=True)


def test_a_file_that_may_not_grow_is_one_line(tmp_path):
    """Where nothing can be mounted: the limit of a file's size does much the same."""

    def limit():
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))

    words = ["demos", "record", "toy", "--samples", "3000", "--executor", "serial", "--out"]
    done = run(*words, tmp_path / "d", preexec_fn=limit)
    assert done.returncode == 1
    assert "too large" in one_line(done).lower()
    assert run(*words, tmp_path / "d").returncode == 0
