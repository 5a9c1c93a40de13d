"""Games recorded by isoclone: what NLE's reader and ours make of them, and what can go wrong."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from quitter import Quitter

import isoclone as ic
from isoclone.base.errors import SpecError, SpecMismatchError
from isoclone.cli import main
from isoclone.executors import ProcessExecutor
from isoclone.executors.setup import STUDY_FILE_VARIABLE
from isoclone.experts import EXPERTS
from isoclone.experts.base import View
from isoclone.nethack.game import pack_tty
from isoclone.nethack.recordings import import_nld
from isoclone.nethack.recordings.record import NldRecordRequest, record_demos, record_nld
from isoclone.nethack.recordings.ttyrec import check_whole

pytest.importorskip("nle")

SHORT = {"max_steps": 150}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Three games, cut off at the step limit."""
    path = tmp_path_factory.mktemp("nld") / "games"
    request = NldRecordRequest(games=3, seed=20, game_options={"max_steps": 300})
    return path, request, record_nld(request, path)


def replay(seed, length, **options):
    """The frames and actions of the bot's game of a seed, played again."""
    game = ic.game("nethack", **options)
    env, bot = game.make_env(), ic.expert("scripted", game)
    view = View(env, np.random.default_rng([seed, 1]), 1)
    frames, actions = [env.reset(seed)], []
    for _ in range(length):
        actions.append(bot.act([view])[0])
        frames.append(env.step(actions[-1])[0])
    return np.stack(frames[:-1]), np.array(actions)


def test_what_is_read_back_is_what_was_seen(recorded, tmp_path):
    """Frame by frame: characters, colours, cursor, action; nothing before, nothing after."""
    path, request, rows = recorded
    demos = import_nld(path, tmp_path / "store", expert="scripted")
    assert len(demos.episodes) == 3
    for info, row in zip(demos.episodes, rows, strict=True):
        read = demos.read(info.index)
        frames, actions = replay(row["seed"], row["env_steps"], **request.game_options)
        assert np.array_equal(pack_tty(read.chars, read.colors, read.cursor), frames)
        assert np.array_equal(read.actions, actions)
        assert (info.seed, info.length) == (row["seed"], row["env_steps"])
        assert info.episode_return == row["score"]


@pytest.mark.parametrize("name", ["NetHackScore-v0", "NetHackStaircase-v0"])
def test_of_another_task_what_the_player_saw_and_pressed_is_read_back(name, tmp_path):
    """NLE presses keys itself there: what was seen at these is no play, and costs none."""
    options = {"max_steps": 700}
    request = NldRecordRequest(2, "random", 3, f"nethack/{name}", options)
    rows, demos = record_demos(request, tmp_path / "nld", tmp_path / "demos", dev_fraction=0.5)
    the_game, pressed = demos.game(), 0
    assert (demos.game_name, demos.n_actions) == (f"nethack/{name}", the_game.n_actions)
    for info, row in zip(demos.episodes, rows, strict=True):
        frames, actions, returned, ended = replay_random(request, row["seed"])
        read = demos.read(info.index)
        assert np.array_equal(pack_tty(read.chars, read.colors, read.cursor), frames)
        assert np.array_equal(read.actions, actions)
        assert info.episode_return == row["return"] == pytest.approx(returned)
        assert (info.end == "terminated") is ended
        assert (info.length, info.unknown_keys) == (row["env_steps"], 0)
        ttyrec = tmp_path / "nld" / row["folder"] / row["ttyrec"]
        pressed += check_whole(ttyrec, 3).frames - info.frames
    assert pressed > 10


def replay_random(request, seed):
    """The frames, actions, return and end of the random player's game of a seed, played again."""
    game = ic.game(request.game, **request.game_options)
    env, player, frames, actions, returned = game.make_env(), ic.expert("random", game), [], [], 0.0
    view = View(env, np.random.default_rng([seed, 1]), 1)
    frame, terminated, truncated = env.reset(seed), False, False
    while not (terminated or truncated):
        frames.append(frame)
        actions.append(player.act([view])[0])
        frame, reward, terminated, truncated = env.step(actions[-1])
        returned += reward
    return np.stack(frames), np.array(actions), returned, terminated


def test_a_task_whose_recordings_do_not_tell_who_pressed_is_refused(tmp_path):
    request = NldRecordRequest(2, "random", game="nethack/NetHack-v0")
    with pytest.raises(SpecError, match=r"NetHack-v0 cannot be recorded .* NLE also presses them"):
        record_nld(request, tmp_path / "g")
    assert not (tmp_path / "g").exists()


def test_nle_reads_the_folder(recorded, tmp_path):
    """The library's own database and reader, on what was recorded."""
    from nle import dataset

    path, _, rows = recorded
    database = str(tmp_path / "nld.db")
    dataset.db.create(database)
    dataset.add_nledata_directory(str(path), "ours", database)
    reader = dataset.TtyrecDataset(
        "ours", batch_size=1, seq_length=32, dbfilename=database, shuffle=False, threadpool=None
    )
    frames: dict[int, int] = {}
    for batch in reader:
        for game in batch["gameids"][0].tolist():
            if game > 0:  # not the filling behind the last game
                frames[game] = frames.get(game, 0) + 1
    assert len(frames) == 3
    tails = [
        frames[game] - row["env_steps"] for game, row in zip(sorted(frames), rows, strict=True)
    ]
    assert all(0 < tail < 60 for tail in tails)


def test_table(recorded):
    path, _, rows = recorded
    with open(path / "games.csv") as file:
        told = list(csv.DictReader(file))
    assert [row["seed"] for row in told] == ["20", "21", "22"]
    assert all(row["how_it_ended"] and row["character"] == "mon-hum-neu-mal" for row in told)
    assert [int(row["score"]) for row in told] == [row["score"] for row in rows]


def test_it_goes_on_where_it_was(tmp_path):
    request = NldRecordRequest(games=2, game_options=SHORT)
    first = record_nld(request, tmp_path / "g")
    stamp = (tmp_path / "g" / "000001" / "game.json").stat().st_mtime_ns
    (tmp_path / "g" / ".000002.part").mkdir()  # what an interruption leaves
    more = record_nld(NldRecordRequest(games=3, game_options=SHORT), tmp_path / "g")
    assert more[:2] == first
    assert len(more) == 3
    assert (tmp_path / "g" / "000001" / "game.json").stat().st_mtime_ns == stamp
    assert not list((tmp_path / "g").glob(".*.part"))
    again = record_nld(NldRecordRequest(games=2, game_options=SHORT), tmp_path / "g")
    assert again == more
    with open(tmp_path / "g" / "games.csv") as file:  # lists all that is there
        assert [row["seed"] for row in csv.DictReader(file)] == ["0", "1", "2"]
    with pytest.raises(SpecMismatchError, match="holds another recording"):
        record_nld(NldRecordRequest(games=2, seed=5, game_options=SHORT), tmp_path / "g")


def test_the_same_games_recorded_again_are_the_same_demonstrations(tmp_path):
    """Whenever they are recorded, and whoever plays them: a ttyrec's clock does not count."""
    request, limits = (
        NldRecordRequest(games=3, game_options={"max_steps": 40}),
        {"dev_fraction": 0.4},
    )
    alone, beside = (
        record_demos(request, tmp_path / n / "nld", tmp_path / n / "demos", **limits, executor=by)[
            1
        ]
        for n, by in (("alone", None), ("beside", ProcessExecutor(2)))
    )
    contents = [[i.content_sha256 for i in demos.episodes] for demos in (alone, beside)]
    assert contents[0] == contents[1]
    assert alone.fingerprint == beside.fingerprint
    assert alone.dev_episodes == beside.dev_episodes


def test_mistakes_are_one_line_and_leave_no_trace(tmp_path):
    for request, said in (
        (NldRecordRequest(games=0), "games must be at least 1"),
        (NldRecordRequest(games=1, game="toy"), "toy is not NetHack"),
        (NldRecordRequest(games=1, game_options={"character": "xyz-a-b-c"}), "no role 'xyz'"),
        (
            NldRecordRequest(games=1, expert="autoascend", expert_options={"path": "nowhere"}),
            "--options path=nowhere: no .* there",
        ),
    ):
        with pytest.raises(SpecError, match=said):
            record_nld(request, tmp_path / "g")
    assert not (tmp_path / "g").exists()


STUDY = """
from isoclone.experts import EXPERTS
from quitter import Quitter
EXPERTS.add("quitter", lambda game: Quitter())
"""


def test_a_failing_expert_and_a_dying_process_harm_no_other_game(tmp_path, monkeypatch):
    (tmp_path / "study.py").write_text(STUDY)
    monkeypatch.setenv(STUDY_FILE_VARIABLE, str(tmp_path / "study.py"))
    EXPERTS.add("quitter", lambda game: Quitter())
    request = NldRecordRequest(games=4, expert="quitter", game_options={"max_steps": 60})
    rows = record_nld(request, tmp_path / "g", ProcessExecutor(1))
    ends = [row["how_it_ended"] for row in rows]
    assert ends[0] == ends[3] == "step limit"
    assert ends[1] == "expert failed: RuntimeError: no more ideas"
    assert "died" in ends[2]
    assert "ttyrec" not in rows[2]
    assert rows[1]["env_steps"] == 30
    demos = import_nld(tmp_path / "g", tmp_path / "store")
    assert [info.seed for info in demos.episodes] == [0, 1, 3]
    assert demos.episodes[1].length == 30  # the quitting tail is not play


def test_the_verb_records_imports_and_goes_on(tmp_path, capsys):
    out = tmp_path / "demos"
    words = ["demos", "record", "nethack", "--out", str(out), "--max-steps", "60"]
    words += ["--executor", "serial"]
    assert main([*words, "--episodes", "2", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert [game["seed"] for game in first["games"]] == [0, 1]
    assert main([*words, "--episodes", "3", "--json"]) == 0
    more = json.loads(capsys.readouterr().out)
    assert len(more["episodes"]) == 3
    assert more["fingerprint"] != first["fingerprint"]
    next((out / "demos").rglob("*.arrow")).unlink()
    again = ["demos", "import", "nld", str(out / "recordings"), "--out", str(out / "demos")]
    assert main([*again, "--expert", "scripted", "--executor", "serial"]) == 0
    assert "damaged, and imported again: 1" in capsys.readouterr().err
    assert main(["demos", "show", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fingerprint"] == more["fingerprint"]


def test_mistakes_of_the_verb(tmp_path, capsys):
    out = ["--out", str(tmp_path / "demos")]
    for words, said in (
        (["nethack", "--episodes", "1"], "--episodes must be at least 2"),
        (["nethack", "--samples", "0"], "samples must be at least 1"),
        (
            ["nethack", "--seed", "9223372036854775807", "--episodes", "2"],
            "--seed 9223372036854775807:",
        ),
        (["nethack", "--seed", "-1"], "--seed -1:"),
        (["nethack", "--options", "path=/tmp"], "keyword argument 'path'"),
        (["nethack", "--game-options", "character=xyz-hum-neu-mal"], "no role 'xyz'"),
        (
            ["nethack", "--expert", "autoascend", "--options", "path=nowhere"],
            "--options path=nowhere",
        ),
        (["toy", "--options", "games=3"], "keyword argument 'games'"),
    ):
        assert main(["demos", "record", *words, *out]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "demos").exists()


def test_the_largest_seed_is_played_and_imported(tmp_path):
    request = NldRecordRequest(games=2, seed=2**63 - 2, game_options={"max_steps": 20})
    _, demos = record_demos(request, tmp_path / "nld", tmp_path / "demos", dev_fraction=0.5)
    assert [info.seed for info in demos.episodes] == [2**63 - 2, 2**63 - 1]
