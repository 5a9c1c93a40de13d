"""Importing NetHack recordings: games NLE plays and records here, whole, damaged and altered."""

from __future__ import annotations

import bz2
import json
import shutil
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("nle", reason="the extra 'nethack' is not installed")

from isoclone.base.errors import DataError, MissingExtraError, SpecError, SpecMismatchError
from isoclone.base.store import read_json, sha256_file, write_json
from isoclone.cli import main
from isoclone.demos import FrameDemonstrations, open_demos
from isoclone.demos.demonstrations import table_digest
from isoclone.games import game
from isoclone.nethack.game import action_keys, unpack_tty
from isoclone.nethack.recordings import GameInfo, NldDemonstrations, import_nld, select
from isoclone.nethack.recordings.gamefile import FRAMES, GameFile, write_game
from isoclone.nethack.recordings.store import game_path
from isoclone.nethack.recordings.ttyrec import Frames, check_whole, decode, find_recordings

QUIT_AFTER = (700, 60, 61)  # steps; one is longer than a stored batch
ENDS = (17, 11)  # seeds of random games that end by themselves: by a god's wrath, by escape


@dataclass
class Played:
    """What a live game showed, and what was done."""

    frames: list[np.ndarray] = field(default_factory=list)
    actions: list[int] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Recorded:
    """A folder of recordings and the games behind them, in order."""

    folder: Path
    played: list[Played]


def play(env: Any, seed: int, steps: int) -> Played:
    """Press random keys until the game is over, or quit it."""
    keys = np.random.default_rng(seed)
    told = Played(frames=[env.reset(seed)])
    for _ in range(steps):
        action = int(keys.integers(121))
        frame, _, terminated, _ = env.step(action)
        told.actions.append(action)
        if terminated:
            break
        told.frames.append(frame)
    else:
        env.quit("enough")
    told.facts = env.episode_facts()
    return told


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Three games that are quit and two that end by themselves, recorded by NLE."""
    root = tmp_path_factory.mktemp("nld")
    (root / "a").mkdir()
    env = game("nethack", character="tou-hum-neu-fem").make_env(savedir=root / "a")
    played = [play(env, seed, steps) for seed, steps in enumerate(QUIT_AFTER)]
    played += [play(env, seed, 1_000) for seed in ENDS]
    env.close()
    assert [one.facts["end"] for one in played[3:]] == ["terminated"] * 2
    rows = [f"a,{r.path.name},{one.facts['seed']},{one.facts['length']}"
            for r, one in zip(find_recordings(root), played, strict=True)]  # fmt: skip
    (root / "games.csv").write_text("\n".join(["folder,ttyrec,seed,env_steps", *rows]))
    return Recorded(root, played)


@pytest.fixture(scope="session")
def imported(recorded: Recorded, tmp_path_factory: pytest.TempPathFactory) -> NldDemonstrations:
    """The recordings above, imported. Read them, do not change them."""
    return import_nld(recorded.folder, tmp_path_factory.mktemp("store") / "demos")


def test_what_is_stored_is_what_was_seen(recorded, imported):
    """Screens, colours, cursor and keys of every game equal the live ones, frame by frame."""
    keys = np.array(action_keys())
    for info, played in zip(imported.episodes, recorded.played, strict=True):
        stored = imported.read(info.index)
        assert info.length == len(played.actions) == len(stored.actions)
        chars, colors, cursor = unpack_tty(np.stack(played.frames[: info.length]))
        plain = chars < 128  # a meta key echoed by a prompt: the converter has its own sign for it
        assert (~plain).mean() < 1e-3
        np.testing.assert_array_equal(stored.chars[plain], chars[plain])
        np.testing.assert_array_equal(stored.colors, colors)
        np.testing.assert_array_equal(stored.cursor, cursor)
        np.testing.assert_array_equal(keys[stored.actions], keys[played.actions])


def cuts(info: GameInfo) -> dict[str, int]:
    return {name: value for name, value in vars(info).items() if name.startswith("cut_")}


def test_rows_tell_how_each_game_went(recorded, imported):
    for info, played in zip(imported.episodes, recorded.played, strict=True):
        facts = played.facts
        assert (info.episode_return, info.points) == (facts["score"], facts["points"])
        assert (info.turns, info.max_depth) == (facts["turns"], facts["depth"])
        assert (info.seed, info.role) == (facts["seed"], "Tou")
        assert info.frames == info.length + sum(cuts(info).values())
    assert [info.cut_opening for info in imported.episodes] == [1, 0, 0, 0, 0]  # a full moon
    assert [info.end for info in imported.episodes] == ["truncated"] * 3 + ["terminated"] * 2
    assert imported.game_options == {"character": "tou-hum-neu-fem"}
    assert imported.samples == sum(len(played.actions) for played in recorded.played)


def test_without_the_recorders_count_the_rule_finds_the_end(recorded, imported, tmp_path):
    """But for up to eight escapes before quitting, which the player might have pressed."""
    folder, _ = altered(recorded, tmp_path)
    (folder / "games.csv").unlink()
    demos = import_nld(folder, tmp_path / "demos")
    assert [i.length for i in demos.episodes[3:]] == [i.length for i in imported.episodes[3:]]
    for info, exact in zip(demos.episodes, imported.episodes, strict=True):
        assert 0 <= info.length - exact.length <= 8
        assert info.seed is None
    assert demos.episodes[0].cut_stuck == 7


def test_imported_games_open_like_any_demonstrations(imported):
    found = open_demos(imported.path)
    assert isinstance(found, NldDemonstrations)
    assert found == imported
    assert found.samples_in("train") + found.samples_in("dev") == found.samples
    assert found.game().expert_score == found.score()[0]
    with pytest.raises(DataError, match="imported recordings of whole games"):
        FrameDemonstrations.open(imported.path)


def test_shared_games_equal_nles_converter_frame_by_frame(shared, tmp_path):
    """Whole AutoAscend games, the two shortest: one that died, one that a bot's error ended."""
    from nle import _pyconverter

    source = shared / "nld-aa-mini"
    names = ("20261122-105039_2slv2jd1/nle.22666.0", "20261122-110141_4qmj9qv9/nle.24718.1")
    for name in names:
        place = tmp_path / "source" / name
        place.parent.mkdir(parents=True)
        shutil.copy(source / f"{name}.ttyrec3.bz2", f"{place}.ttyrec3.bz2")
        log = name.rpartition(".")[0] + ".xlogfile"
        shutil.copy(source / log, tmp_path / "source" / log)
    shutil.copy(source / "games.csv", tmp_path / "source")
    demos = import_nld(tmp_path / "source", tmp_path / "demos")
    assert [(i.seed, i.length, i.episode_return) for i in demos.episodes] == [
        (1016, 8605, 975.0),
        (1025, 2240, 402.0),
    ]
    for info in demos.episodes:
        theirs = [np.zeros((info.frames, *s), t) for s, t in (
            ((24, 80), np.uint8), ((24, 80), np.int8), ((2,), np.int16),
            ((), np.int64), ((), np.uint8), ((), np.int32),
        )]  # fmt: skip
        converter = _pyconverter.Converter(24, 80, 3)
        converter.load_ttyrec(str(tmp_path / "source" / info.name))
        assert converter.convert(*theirs) == 0
        file = GameFile(game_path(demos.path, info.name))
        for column in range(3):
            ours = np.concatenate([file.screens(i)[column] for i in range(file.batches)])
            np.testing.assert_array_equal(ours, theirs[column])
        np.testing.assert_array_equal(file.moves()[0], theirs[4])
        np.testing.assert_array_equal(file.moves()[1], theirs[5])


def test_two_workers_and_one_give_the_same(recorded, imported, tmp_path, capsys):
    out = tmp_path / "two"
    assert main(["demos", "import", "nld", str(recorded.folder), "--out", str(out),
                 "--workers", "2", "--json"]) == 0  # fmt: skip
    told = json.loads(capsys.readouterr().out)
    assert told["fingerprint"] == imported.fingerprint
    assert NldDemonstrations.open(out).file_sha256 == imported.file_sha256


def test_an_import_goes_on_where_it_was_stopped(recorded, imported, tmp_path):
    """Games that are there are not decoded again; nothing half-written counts."""
    out = tmp_path / "demos"

    class StopError(Exception):
        pass

    def stop(what: str, done: float, total: float) -> None:
        raise StopError

    with pytest.raises(StopError):
        import_nld(recorded.folder, out, progress=stop)
    with pytest.raises(DataError, match="unfinished: run the same import again"):
        NldDemonstrations.open(out)
    (there,) = (out / "games").rglob("*.arrow")
    before = there.stat().st_mtime_ns
    demos = import_nld(recorded.folder, out)
    assert there.stat().st_mtime_ns == before
    assert demos.fingerprint == imported.fingerprint
    (out / "demonstrations.json").unlink()  # as if stopped; a game that is damaged is made again
    there.write_bytes(there.read_bytes()[:-50])
    assert import_nld(recorded.folder, out).file_sha256 == imported.file_sha256
    with pytest.raises(SpecMismatchError, match="where"):
        import_nld(recorded.folder, out, where="points > 3")


def test_where_and_dev_folder_choose_games(recorded, tmp_path):
    shutil.copytree(recorded.folder / "a", tmp_path / "source" / "a")
    shutil.copytree(recorded.folder / "a", tmp_path / "source" / "b")
    demos = import_nld(
        tmp_path / "source",
        tmp_path / "demos",
        where="role == 'Tou' and death == 'quit'",
        dev_folders=["b"],
    )
    assert [i.name.partition("/")[0] for i in demos.episodes] == ["a"] * 3 + ["b"] * 3
    assert demos.dev_episodes == {3, 4, 5}
    assert len(demos.skipped) == 4
    with pytest.raises(SpecError, match="--dev-folder c"):
        import_nld(tmp_path / "source", tmp_path / "other", dev_folders=["c"])
    with pytest.raises(SpecError, match="none is left to train on"):
        import_nld(tmp_path / "source", tmp_path / "other", dev_folders=["a", "b"])
    assert not (tmp_path / "other").exists()


def test_a_selection_keeps_the_dev_games(imported, tmp_path, capsys):
    (dev,) = (i for i in imported.episodes if i.index == min(imported.dev_episodes))
    longest = max(i.length for i in imported.in_split("train"))
    where = f"length >= {longest} and alignment == 'Neu'"
    found = select(imported, tmp_path / "few", where)
    names = {i.name for i in found.in_split("train")}
    assert names == {i.name for i in imported.in_split("train") if i.length >= longest}
    assert {i.name for i in found.in_split("dev")} == {i.name for i in imported.in_split("dev")}
    assert len(found.episodes) + len(found.skipped) == len(imported.episodes)
    assert {reason for _, reason in found.skipped} == {f"not ({where})"}
    again = next(i for i in found.episodes if i.name == dev.name)
    np.testing.assert_array_equal(found.read(again.index).chars, imported.read(dev.index).chars)
    assert found.fingerprint != imported.fingerprint
    assert found.episode_path(again.index).samefile(imported.episode_path(dev.index))
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "demos").symlink_to(imported.path)
    study, few = str(tmp_path / "study"), str(tmp_path / "few")
    arguments = ["demos", "select", study, "--out", few, "--where"]
    assert main([*arguments, where, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fingerprint"] == found.fingerprint
    assert main([*arguments, "length > 5"]) == 2
    assert main([*arguments[:-2], str(tmp_path / "none"), "--where", "length > 5e6"]) == 2
    assert "none of" in capsys.readouterr().err.splitlines()[-1]


def test_a_finished_import_takes_in_what_came_to_its_source(recorded, imported, tmp_path, capsys):
    """New recordings, and a damaged one that is whole again; those that are gone since stay."""
    folder, path = altered(recorded, tmp_path)
    whole, (*_, last) = path.read_bytes(), find_recordings(folder)
    last.path.rename(tmp_path / "aside")
    path.write_bytes(whole[:-9])
    words = ["demos", "import", "nld", str(folder), "--out", str(tmp_path / "demos"), "--json"]
    assert main([*words, "--executor", "serial"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert (len(first["episodes"]), len(first["skipped"])) == (3, 1)
    table = (tmp_path / "demos" / "demonstrations.json").read_bytes()
    assert main(words) == 0  # nothing came
    assert json.loads(capsys.readouterr().out) == first
    assert (tmp_path / "demos" / "demonstrations.json").read_bytes() == table
    assert main([*words, "--refuse-damaged"]) == 1
    assert "is truncated" in capsys.readouterr().err.splitlines()[-1]
    find_recordings(folder)[0].path.unlink()
    (tmp_path / "aside").rename(last.path)
    path.write_bytes(whole)
    assert main(words) == 0
    said = capsys.readouterr()
    assert "new: 2, which changes the fingerprint" in said.err
    assert json.loads(said.out)["fingerprint"] == imported.fingerprint
    assert NldDemonstrations.open(tmp_path / "demos").skipped == ()
    for log in folder.rglob("*xlogfile"):
        log.unlink()
    assert main(words) == 0  # what is in the store is sound, whatever became of its source
    said = capsys.readouterr()
    assert "nothing new is imported: " in said.err
    assert json.loads(said.out)["fingerprint"] == imported.fingerprint


def test_a_finished_import_outlives_its_source(imported, tmp_path):
    copy = Path(shutil.copytree(imported.path, tmp_path / "demos"))
    request = read_json(copy / "request.json")
    request["source"] = "../gone"
    write_json(copy / "request.json", request)
    assert import_nld(tmp_path / "gone", copy).fingerprint == imported.fingerprint
    path = game_path(copy, imported.episodes[2].name)
    path.unlink()
    with pytest.raises(DataError, match=rf"{path} is missing; restore it, or .*/gone/a/nle"):
        import_nld(tmp_path / "gone", copy)


# What goes wrong.


def altered(recorded: Recorded, home: Path) -> tuple[Path, Path]:
    """A copy of the recordings to be spoilt: its folder, and its second game's file."""
    folder = Path(shutil.copytree(recorded.folder, home / "source"))
    return folder, find_recordings(folder)[1].path


def channels(path: Path) -> list[tuple[bytes, int, bytes]]:
    """(seconds and microseconds, channel, data) of each record of a ttyrec3."""
    data, at, found = bz2.decompress(path.read_bytes()), 0, []
    while at < len(data):
        size, channel = struct.unpack_from("<iB", data, at + 8)
        found.append((data[at : at + 8], channel, data[at + 13 : at + 13 + size]))
        at += 13 + size
    return found


def write_channels(path: Path, records: list[tuple[bytes, int, bytes]]) -> None:
    parts = [time + struct.pack("<iB", len(d), channel) + d for time, channel, d in records]
    path.write_bytes(bz2.compress(b"".join(parts)))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data: data[: len(data) // 2], "is truncated"),
        (lambda data: data[:300] + b"\0" * 40 + data[340:], "is damaged"),
        (lambda data: b"not bz2", "is damaged"),
        (lambda data: b"", "is truncated"),
        (lambda data: bz2.compress(b""), "holds no frames"),
        (lambda data: bz2.compress(bz2.decompress(data)[:-3]), "ends within a record"),
        (lambda data: bz2.compress(bytes(range(256)) * 4), "garbled"),
        (lambda data: data + data, "there is data after its end"),  # NLE would read the first alone
        (lambda data: data + b"\0", "there is data after its end"),
    ],
)
def test_a_spoilt_recording_is_left_out_by_name_or_refused(recorded, tmp_path, spoil, reason):
    folder, path = altered(recorded, tmp_path)
    path.write_bytes(spoil(path.read_bytes()))
    demos = import_nld(folder, tmp_path / "demos")
    assert len(demos.episodes) == 4
    ((name, told),) = demos.skipped
    assert name == path.relative_to(folder).as_posix()
    assert reason in told
    with pytest.raises(DataError, match=reason):
        import_nld(folder, tmp_path / "refused", refuse_damaged=True)


def test_a_link_that_leads_nowhere_is_left_out_like_a_damaged_recording(recorded, tmp_path):
    folder, path = altered(recorded, tmp_path)
    path.unlink()
    path.symlink_to(tmp_path / "gone")
    demos = import_nld(folder, tmp_path / "demos")
    assert len(demos.episodes) == 4
    ((name, told),) = demos.skipped
    assert name == path.relative_to(folder).as_posix()
    assert told == f"{path} is damaged (No such file or directory)"
    with pytest.raises(DataError, match="No such file"):
        import_nld(folder, tmp_path / "refused", refuse_damaged=True)


def test_a_single_game_is_too_few(recorded, tmp_path):
    folder, _ = altered(recorded, tmp_path)
    for recording in find_recordings(folder)[1:]:
        recording.path.unlink()
    with pytest.raises(DataError, match=r"a single game cannot be split .* import two or more"):
        import_nld(folder, tmp_path / "demos")


TIME = bytes(8)


def first(records: list[tuple[bytes, int, bytes]], channel: int) -> int:
    return next(i for i, record in enumerate(records) if record[1] == channel)


@pytest.mark.parametrize(
    "record",
    [
        (1, b"jjj"),  # NLE's converter takes the first of these keys
        (1, b"j"),  # gives this one the score of the next
        (2, bytes(4)),  # gives all keys from here on the scores of the one before
        (2, b"1"),  # reads on beyond these bytes
        (0, b""),  # goes no further
        (0, b"x\x1b[4294967295b"),  # writes that many x
        (0, b"x\x1b[99\x00[99;1b"),
    ],
)
def test_what_nles_converter_would_misread_is_refused(recorded, tmp_path, record):
    folder, path = altered(recorded, tmp_path)
    records = channels(path)
    at = first(records, 2)
    write_channels(path, [*records[:at], (TIME, *record), *records[at:]])
    demos = import_nld(folder, tmp_path / "demos")
    assert len(demos.episodes) == 4
    assert "garbled" in demos.skipped[0][1]


def test_a_sequence_is_seen_across_records_and_a_few_repetitions_are_fine(tmp_path):
    ending = [(TIME, 2, bytes(4)), (TIME, 1, b"j")]
    shown, path = [b"a\x1b[", b"9999999", b"9;;", b"b"], tmp_path / "a.ttyrec3.bz2"
    write_channels(path, [*((TIME, 0, text) for text in shown), *ending])
    with pytest.raises(DataError, match="repeated without end"):
        check_whole(path, 3)
    write_channels(path, [(TIME, 0, b"a\x1b[3b"), (TIME, 0, b"12345b"), *ending])
    (frames,) = decode(path, 3, check_whole(path, 3), 8)
    assert bytes(frames.chars[0, 0, :11]) == b"aaaa12345b "


def test_line_drawing_in_one_game_leaves_the_next_alone(recorded, imported, tmp_path):
    """NLE's converters share what character set a terminal is reset to."""
    folder, _ = altered(recorded, tmp_path)
    longest = max(find_recordings(folder), key=lambda r: r.path.stat().st_size).path  # comes first
    records = channels(longest)
    write_channels(longest, [*records[:-3], (TIME, 0, b"\x1b(0"), *records[-3:]])
    demos = import_nld(folder, tmp_path / "demos")
    hashes = zip(demos.episodes, demos.file_sha256, imported.file_sha256, strict=True)
    changed = [info.name for info, now, before in hashes if now != before]
    assert set(changed) <= {longest.relative_to(folder).as_posix()}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (",60", ",²", "env_steps is not a whole number"),
        (",60", ",6_0", "env_steps is not a whole number"),
        (",60", "," + "9" * 19, "env_steps is too large"),
        (",60", "\na", "more or fewer cells"),
        (",60", ",60,60", "more or fewer cells"),
        (",60", ',"60', "unexpected end of data"),
        ("ttyrec,", "ttyrecs,", "lacks the column ttyrec"),
        ("folder,", "holder,", "lacks the column folder"),
        ("a,nle", "a,nle.0.ttyrec3.bz2,0,5\na,nle.0.ttyrec3.bz2,0,6\na,nle", "differs"),
    ],
)
def test_a_recorders_table_that_cannot_be_read_is_refused(recorded, tmp_path, old, new, said):
    folder, _ = altered(recorded, tmp_path)
    table = folder / "games.csv"
    table.write_text(table.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=rf"games\.csv, line \d+ is damaged: .*{said}"):
        import_nld(folder, tmp_path / "demos")


@pytest.mark.parametrize(
    ("games", "said"),
    [
        (["NetHackScore-v0", "NetHackChallenge-v0"], "cannot be imported together"),
        (["NetHackChalenge-v0"], r"games\.csv names an unknown NetHack environment"),
        (["NetHack-v0"], "NetHack-v0 cannot be recorded or imported"),
        (["NetHackScore-v0"], r"games\.csv lacks its env_steps or return; record it again"),
    ],
)
def test_games_that_cannot_be_imported_as_what_a_table_says_they_are(
    recorded, tmp_path, games, said
):
    folder, _ = altered(recorded, tmp_path)
    head, *rows = (folder / "games.csv").read_text().splitlines()
    rows = [f"{row},nethack/{games[i % len(games)]}" for i, row in enumerate(rows)]
    (folder / "games.csv").write_text("\n".join([f"{head},game", *rows]))
    with pytest.raises((DataError, SpecError), match=said):
        import_nld(folder, tmp_path / "demos")


def test_a_store_takes_in_games_of_its_own_game_alone(recorded, tmp_path):
    folder, _ = altered(recorded, tmp_path)
    import_nld(folder, tmp_path / "demos")
    table = folder / "games.csv"
    head, *rows = table.read_text().splitlines()
    table.write_text("\n".join([f"{head},game", *(f"{r},nethack/NetHackScore-v0" for r in rows)]))
    with pytest.raises(DataError, match="Challenge-v0 and of nethack/NetHackScore-v0 cannot"):
        import_nld(folder, tmp_path / "demos")


def test_another_table_of_that_name_is_not_the_recorders(recorded, imported, tmp_path):
    folder, _ = altered(recorded, tmp_path)
    (folder / "a" / "games.csv").write_text("index,name\n0,²\n")
    assert import_nld(folder, tmp_path / "demos").fingerprint == imported.fingerprint


def test_xlogfiles_that_contradict_each_other_are_refused(recorded, tmp_path):
    folder, _ = altered(recorded, tmp_path)
    (log,) = folder.rglob("*.xlogfile")
    other = log.with_name("other.xlogfile")
    other.write_bytes(log.read_bytes())
    assert len(import_nld(folder, tmp_path / "same").episodes) == 5
    other.write_bytes(log.read_bytes().replace(b"turns=", b"turns=1"))
    with pytest.raises(DataError, match=r"xlogfile: the line about .* differs in another xlogfile"):
        import_nld(folder, tmp_path / "other")


def test_a_key_that_is_no_action_is_counted_and_masked(recorded, imported, tmp_path):
    folder, path = altered(recorded, tmp_path)
    records = channels(path)
    keys = [i for i, (_, channel, _) in enumerate(records) if channel == 1]
    records[keys[10]] = (records[keys[10]][0], 1, b"\x00")
    write_channels(path, records)
    demos = import_nld(folder, tmp_path / "demos")
    assert demos.episodes[1].unknown_keys == 1
    assert demos.samples == imported.samples - 1
    assert np.flatnonzero(demos.read(1).actions == -1).tolist() == [10]


def test_version_2_has_no_scores_and_version_1_nothing_to_imitate(recorded, tmp_path):
    folder, path = altered(recorded, tmp_path)
    old = path.with_name(path.name.replace("ttyrec3", "ttyrec2"))
    write_channels(old, [record for record in channels(path) if record[1] < 2])
    path.unlink()
    for name in ("b.ttyrec.bz2", "c.ttyrec4.bz2"):
        (folder / "a" / name).write_bytes(b"")
    demos = import_nld(folder, tmp_path / "demos", without_log=True)
    assert demos.episodes[1].length - 60 in range(9)
    assert [reason.partition(" version")[2] for _, reason in demos.skipped] == [
        " 1 holds no keys, so there is nothing to imitate",
        " 4",
    ]
    for other in folder.rglob("*.ttyrec[23].bz2"):
        other.unlink()
    with pytest.raises(DataError, match="nothing to imitate"):
        import_nld(folder, tmp_path / "none")


def test_without_an_xlogfile(recorded, imported, tmp_path):
    folder, _ = altered(recorded, tmp_path)
    for log in folder.rglob("*.xlogfile"):
        log.unlink()
    with pytest.raises(DataError, match=r"no line in an xlogfile .* --without-log"):
        import_nld(folder, tmp_path / "none")
    demos = import_nld(folder, tmp_path / "demos", without_log=True)
    assert [info.length for info in demos.episodes] == [i.length for i in imported.episodes]
    assert demos.episodes[0].points is None
    assert demos.game_options == {"character": "@"}


def test_a_recording_that_breaks_off_keeps_every_frame(recorded, imported, tmp_path):
    folder, path = altered(recorded, tmp_path)
    records = channels(path)
    keys = [i for i, (_, channel, _) in enumerate(records) if channel == 1]
    for kept in (keys[40], keys[39] + 1):  # NLE's converter reads no key that ends a file
        write_channels(path, records[:kept])
        demos = import_nld(folder, tmp_path / str(kept))
        info = demos.episodes[1]
        assert (info.length, info.frames, info.end) == (40, 40, "truncated")
        assert demos.read(1).actions[-1] == imported.read(1).actions[39]


def test_wrong_places_end_in_one_line(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for source in ("nowhere", "empty"):
        out = tmp_path / "out"
        assert main(["demos", "import", "nld", str(tmp_path / source), "--out", str(out)]) == 1
        said = capsys.readouterr().err.strip().splitlines()
        assert said[-1].startswith("isoclone: ")
        assert source in said[-1]
        assert not out.exists()


def test_nle_missing_is_one_line(recorded, tmp_path, monkeypatch):
    import isoclone.nethack.game as nethack

    def missing() -> None:
        raise MissingExtraError("NetHack", "nethack")

    nethack.action_keys.cache_clear()
    nethack.key_actions.cache_clear()
    monkeypatch.setattr(nethack, "_require_nle", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'isoclone\[nethack\]'"):
        import_nld(recorded.folder, tmp_path / "demos")
    assert not (tmp_path / "demos").exists()


@pytest.mark.parametrize("how", ["flip", "cut", "remove"])
def test_a_damaged_store_is_named(imported, tmp_path, how):
    copy = Path(shutil.copytree(imported.path, tmp_path / "demos"))
    path = game_path(copy, imported.episodes[0].name)
    harm(path, how)
    with pytest.raises(DataError, match=path.name):
        NldDemonstrations.open(copy)
    demos = NldDemonstrations.open(copy, verify=False)
    if how != "flip":  # a flipped bit within a block may only show in the hash
        with pytest.raises(DataError, match=path.name):
            demos.read(0)


def harm(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data if how == "flip" else data[: len(data) // 2])
    if how == "remove":
        path.unlink()


@pytest.mark.parametrize("how", ["flip", "cut", "remove"])
def test_the_same_import_makes_a_damaged_game_again(recorded, imported, tmp_path, capsys, how):
    folder, _ = altered(recorded, tmp_path)
    out = tmp_path / "demos"
    import_nld(folder, out)
    for index in (0, 4):
        harm(game_path(out, imported.episodes[index].name), how)
    words = ["demos", "import", "nld", str(folder), "--out", str(out), "--executor", "serial"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "damaged, and imported again: 2" in said.err
    demos = NldDemonstrations.open(out)
    assert demos.fingerprint == imported.fingerprint
    assert demos.file_sha256 == imported.file_sha256


def test_a_damaged_game_is_not_made_of_another_recording(recorded, imported, tmp_path):
    folder, path = altered(recorded, tmp_path)
    out = tmp_path / "demos"
    import_nld(folder, out)
    harm(game_path(out, imported.episodes[1].name), "flip")
    shutil.copy(find_recordings(folder)[2].path, path)
    with pytest.raises(DataError, match=r"edited, and its recording .* has changed; restore"):
        import_nld(folder, out)


def test_a_damaged_table_is_made_again_and_vouches_for_no_file(recorded, imported, tmp_path):
    folder, _ = altered(recorded, tmp_path)
    out = tmp_path / "demos"
    import_nld(folder, out)
    table = read_json(out / "demonstrations.json")
    table["dev_episodes"] = [0]
    write_json(out / "demonstrations.json", table)
    harm(game_path(out, imported.episodes[1].name), "flip")
    demos = import_nld(folder, out)
    assert demos.fingerprint == imported.fingerprint
    assert demos.file_sha256 == imported.file_sha256


def test_a_damaged_selection_is_made_again(imported, tmp_path):
    found = select(imported, tmp_path / "few", "length > 5")
    path = found.episode_path(0)
    path.unlink()  # not its bytes: they are the imported game's, too
    assert select(imported, tmp_path / "few", "length > 5") == found
    assert path.samefile(imported.episode_path(0))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"chars", b"\xf5hars"),  # no text at all
        (b"chars", b"chart"),
        (struct.pack("<i", 1920), struct.pack("<i", 1664)),  # bytes a screen
        (struct.pack("<i", 1920), struct.pack("<i", -1)),
    ],
)
def test_a_damaged_game_is_named_where_nobody_looks_at_hashes(imported, tmp_path, old, new):
    copy = Path(shutil.copytree(imported.path, tmp_path / "demos"))
    path = game_path(copy, imported.episodes[1].name)
    path.write_bytes(path.read_bytes().replace(old, new))
    demos = NldDemonstrations.open(copy, verify=False)
    with pytest.raises(DataError, match=path.name):
        demos.read(1)


def test_a_game_that_is_short_is_not_read_short(imported, tmp_path):
    copy = Path(shutil.copytree(imported.path, tmp_path / "demos"))
    one, other = (game_path(copy, info.name) for info in imported.episodes[:2])
    other.replace(one)
    demos = NldDemonstrations.open(copy, verify=False)
    with pytest.raises(DataError, match=rf"{one.name} is damaged \(\d+ frames from number 0"):
        demos.read(0)
    with pytest.raises(DataError, match="frames from number 0"):
        demos.open_game(0).moves()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "../../else/where.ttyrec3.bz2", "outside of the demonstrations"),
        ("name", "/else/where.ttyrec3.bz2", "outside of the demonstrations"),
        ("name", 7, "name must be text"),
        ("length", 10**6, "do not add up"),
        ("length", "many", "length must be a whole number"),
        ("cut_opening", -1, "do not add up"),
    ],
)
def test_a_row_that_cannot_be_is_refused_whoever_wrote_its_hash(
    imported, tmp_path, field, value, said
):
    copy = Path(shutil.copytree(imported.path, tmp_path / "demos"))
    table = read_json(copy / "demonstrations.json")
    table["episodes"][0][field] = value
    table["table_digest"] = table_digest(table)
    write_json(copy / "demonstrations.json", table)
    with pytest.raises(DataError, match=said):
        NldDemonstrations.open(copy, verify=False)


def test_an_edited_table_is_refused(imported, tmp_path):
    copy = Path(shutil.copytree(imported.path, tmp_path / "demos"))
    table = read_json(copy / "demonstrations.json")
    table["dev_episodes"] = [0]
    write_json(copy / "demonstrations.json", table)
    with pytest.raises(DataError, match="was edited"):
        NldDemonstrations.open(copy)


@pytest.mark.parametrize(("field", "value"), [("keys", ord("h")), ("chars", ord("x"))])
def test_a_forged_game_is_found_though_every_hash_of_a_file_fits(imported, tmp_path, field, value):
    copy = NldDemonstrations.open(shutil.copytree(imported.path, tmp_path / "demos"))
    file, path = copy.open_game(0), copy.episode_path(0)
    keys, scores = file.moves()
    cuts = [slice(i * FRAMES, (i + 1) * FRAMES) for i in range(file.batches)]
    frames = [Frames(*file.screens(i), keys[c], scores[c]) for i, c in enumerate(cuts)]
    forged = [f._replace(**{field: np.full_like(getattr(f, field), value)}) for f in frames]
    write_game(path, iter(forged), file.facts())
    table = read_json(copy.path / "demonstrations.json")
    table["file_sha256"][0] = sha256_file(path)
    write_json(copy.path / "demonstrations.json", {**table, "table_digest": table_digest(table)})
    with pytest.raises(DataError, match=rf"{path.name} holds another content_sha256.*forged"):
        open_demos(copy.path)
