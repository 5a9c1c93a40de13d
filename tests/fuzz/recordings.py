"""NetHack's recordings as fuzzed inputs: see `targets.py` for how a kind is made.

| kind       | ruined                                    | right answer                            |
|------------|-------------------------------------------|-----------------------------------------|
| ttyrecs    | a recording: bytes, and records within    | all frames, keys, scores as NLE's       |
|            | a sound bz2; its name                     | converter has them; or left out by name |
| xlogfiles  | bytes or fields of the xlogfile and of    | every number as the file has it; a game |
|            | games.csv beside it                       | without a log left out by name          |
| conditions | `--where` expressions                     | what Python makes of the expression     |
| games      | bytes of a stored game, JSON of the table | every game and unroll as imported       |

In each, games that were not ruined must come out as ever, bit for bit.
"""

from __future__ import annotations

import ast
import bz2
import contextlib
import csv
import io
import json
import shutil
import struct
import warnings
from dataclasses import astuple
from pathlib import Path
from typing import Any, NamedTuple

import mutate
import numpy as np
from hypothesis import strategies as st
from kinds import Maker, Target, expect
from mutate import Draw

from isoclone.base.errors import IsocloneError
from isoclone.base.store import read_json
from isoclone.cli import main
from isoclone.demos.demonstrations import table_digest
from isoclone.nethack.recordings import (
    GameInfo,
    NldDemonstrations,
    NldRecordRequest,
    Unrolls,
    import_nld,
    whole_games,
)
from isoclone.nethack.recordings import ttyrec as reader
from isoclone.nethack.recordings.gamefile import GameFile
from isoclone.nethack.recordings.record import _cast, _play
from isoclone.nethack.recordings.where import ALIASES, Where
from isoclone.nethack.recordings.xlogfile import FIELDS, read_xlogfile

STEPS = (40, 55, 30)  # of each game: small, so that thousands can be imported
TABLE = "games.csv"


def make_seeds(folder: Path) -> None:
    """Three short games of the scripted player, recorded by NLE, and imported."""
    games = folder / "games"
    games.mkdir(parents=True)
    rows = []
    for seed, steps in enumerate(STEPS):
        options = {"character": "mon-hum-neu-mal", "max_steps": steps}
        the_game, player = _cast(NldRecordRequest(1, game_options=options))
        env = the_game.make_env(savedir=folder / str(seed))
        _play(env, player, seed)
        env.close()
        rows.append(_take(folder / str(seed), games, seed, env.episode_facts()))
    header = ["ttyrec", "seed", "env_steps"]
    with open(games / TABLE, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    import_nld(games, folder / "store")
    shutil.copytree(games, folder / "uncounted")
    (folder / "uncounted" / TABLE).unlink()
    import_nld(folder / "uncounted", folder / "by-rule")


def _take(source: Path, games: Path, seed: int, facts: dict[str, Any]) -> list[Any]:
    """Move a recorded game to the others, under a name of its own; its row of the table."""
    (ttyrec,), (xlogfile,) = source.glob("*.ttyrec3.bz2"), source.glob("*.xlogfile")
    name = f"nle.7.{seed}.ttyrec3.bz2"
    ttyrec.rename(games / name)
    with open(games / "nle.7.xlogfile", "a", encoding="latin-1") as file:
        file.write(xlogfile.read_text("latin-1").replace(ttyrec.name, name))
    shutil.rmtree(source)
    return [name, facts["seed"], facts["length"]]


def _imported(source: Path, work: Path, **options: Any) -> NldDemonstrations:
    shutil.rmtree(work / "store", ignore_errors=True)
    return import_nld(source, work / "store", **options)


def _fresh(seeds: Path, work: Path) -> Path:
    """A copy of the sound games, to be ruined."""
    shutil.rmtree(work / "games", ignore_errors=True)
    return Path(shutil.copytree(seeds / "games", work / "games"))


def _hashes(demos: NldDemonstrations) -> dict[str, str]:
    """The hash of each game's file; files are the same bytes whenever their contents are."""
    names = (info.name for info in demos.episodes)
    return dict(zip(names, demos.file_sha256, strict=True))


def _all_told(demos: NldDemonstrations, names: set[str]) -> None:
    """Every recording is a game or was left out, and no game's frames are unaccounted for."""
    kept, left = [i.name for i in demos.episodes], [name for name, _ in demos.skipped]
    expect(sorted([*kept, *left]) == sorted(names), f"kept {kept}, left out {left}")
    expect(all(reason.strip() for _, reason in demos.skipped), "left out without a reason")
    for info in demos.episodes:
        cut = info.cut_opening + info.cut_end_screens + info.cut_quit + info.cut_stuck
        expect(info.frames == info.length + cut, f"{info.name}: frames are unaccounted for")


# ---------------------------------------------------------------------- ttyrecs


class Record(NamedTuple):
    """A record of a ttyrec, its length apart: `claim` is what it says instead, where it lies."""

    time: bytes
    channel: int
    data: bytes
    claim: int | None = None

    def packed(self) -> bytes:
        length = len(self.data) if self.claim is None else self.claim
        return self.time + struct.pack("<iB", length, self.channel) + self.data


def records_of(data: bytes) -> list[Record]:
    """The records of a ttyrec of version 2 or 3, decompressed and sound."""
    found, at = [], 0
    while at < len(data):
        length, channel = struct.unpack_from("<iB", data, at + 8)
        found.append(Record(data[at : at + 8], channel, data[at + 13 : at + 13 + length]))
        at += 13 + length
    return found


_LENGTHS = st.sampled_from(
    [0, 1, 3, 5, 255, 65_536, 1 << 20, (1 << 20) + 1, -1, 2**31 - 1, -(2**31)]
)
_SCORES = st.integers(-(2**31), 2**31 - 1).map(lambda score: struct.pack("<i", score))
_SEQUENCES = [
    b"\x1b[99999999999b", b"\x1b[9\x00[9999999999b", b"\x1b[3b", b"\x1b(0lqqk", b"\x1b\x1b(\x1b(0",
    b"\x1bc", b"\x1b[999;999H", b"\x1b[18446744073709551615A", b"\x1b[0A", b"\x1b[H\x1b[1J",
    b"\x1b[99L", b"\x1b[99M", b"\x1b[99S", b"\x1b[99T", b"\x1b[99P", b"\x1b[99@", b"\x1b[99X",
    b"\x1b[1;2;3;4;5;6;7;8;9;10;38;48;99m", b"\x1bH\x1b[3g\t\t\x1b[I\x1b[Z", b"\x1b7\x1b8",
    b"\x1b[s\x1b[u", b"\x1b]0;title\x07", b"\x0e\x0f", b"\xe2\x94\x80\xff\x80", b"\x9b5b",
    b"\n" * 60, b"\b" * 90,
]  # fmt: skip
_MADE = st.builds(
    lambda body, last: b"\x1b[" + body.encode() + last.encode(),
    st.text("0123456789;?", max_size=12),
    st.sampled_from("ABCDEFGHIJKLMPSTXZ@bcdfghilmnsu(+"),
)
GARBAGE = st.one_of(st.sampled_from(_SEQUENCES), _MADE, st.binary(min_size=1, max_size=40))


def damaged_records(draw: Draw, records: list[Record], other: list[Record]) -> list[Record]:
    """Records of a game after one to three accidents; `other` is another game's."""
    records = list(records)
    for _ in range(draw(st.integers(1, 3))):
        if records:
            records = _accident(draw, records, other)
    return records


def _accident(draw: Draw, records: list[Record], other: list[Record]) -> list[Record]:
    at = draw(st.integers(0, len(records) - 1))
    one, before, after = records[at], records[:at], records[at + 1 :]
    how = draw(st.sampled_from(_ACCIDENTS))
    if how == "remove":
        return before + after
    if how == "double":
        return [*before, one, one, *after]
    if how == "swap" and after:
        return [*before, after[0], one, *after[1:]]
    if how == "break off":
        return before
    if how == "doubled game":
        return records + records
    if how == "splice":
        return before + other[draw(st.integers(0, len(other) - 1)) :]
    if how == "no keys":
        return [record for record in records if record.channel != 1]
    if how == "no scores":
        return [record for record in records if record.channel != 2]
    if how == "insert":
        return [*before, Record(one.time, 0, draw(GARBAGE)), one, *after]
    return [*before, _changed(draw, one, how), *after]


_ACCIDENTS = [
    "remove", "double", "swap", "break off", "doubled game", "splice", "no keys", "no scores",
    "insert", "insert", "insert", "channel", "claim", "time", "contents", "contents", "contents",
]  # fmt: skip


def _changed(draw: Draw, one: Record, how: str) -> Record:
    if how == "channel":
        return one._replace(channel=draw(st.integers(0, 255) | st.integers(0, 3)))
    if how == "claim":
        return one._replace(claim=draw(_LENGTHS))
    if how == "time":
        return one._replace(time=draw(st.binary(min_size=8, max_size=8)))
    if one.channel == 0:
        return one._replace(data=draw(GARBAGE))
    return one._replace(data=draw(st.one_of(st.binary(max_size=5), _keys_or_scores(one.channel))))


def _keys_or_scores(channel: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=1, max_size=1) if channel == 1 else _SCORES


class Spoilt(NamedTuple):
    """A recording, and the name it goes by."""

    name: str
    data: bytes


def ttyrecs(seeds: Path, work: Path) -> Target:
    paths = sorted((seeds / "games").glob("*.bz2"))
    raw = {path.name: path.read_bytes() for path in paths}
    streams = {name: bz2.decompress(data) for name, data in raw.items()}
    sound = _hashes(NldDemonstrations.open(seeds / "store"))
    victim = paths[1].name

    def ruin(draw: Draw) -> Spoilt:
        how = draw(st.sampled_from([*["records"] * 5, "bytes", "stream", "doubled", "name"]))
        if how == "records":
            mine, other = (records_of(streams[path.name]) for path in paths[1:])
            records = damaged_records(draw, mine, other)
            return Spoilt(victim, bz2.compress(b"".join(r.packed() for r in records)))
        if how == "stream":
            return Spoilt(victim, bz2.compress(mutate.damaged_bytes(draw, streams[victim])))
        if how == "doubled":
            second = draw(st.sampled_from([raw[victim], raw[paths[0].name], b"\0", b"BZh9"]))
            return Spoilt(victim, raw[victim] + second)
        name = victim
        if how == "name":
            last = st.sampled_from(["ttyrec2.bz2", "ttyrec.bz2", "ttyrec4.bz2", "ttyrec03.bz2"])
            name = victim.replace("ttyrec3.bz2", draw(last))
        return Spoilt(
            name, mutate.damaged_bytes(draw, raw[victim]) if how == "bytes" else raw[victim]
        )

    def answer(ruined: Spoilt) -> None:
        games = _fresh(seeds, work)
        (games / victim).unlink()
        path = games / ruined.name
        path.write_bytes(ruined.data)
        demos = _imported(games, work, without_log=True)
        _all_told(demos, {found.name for found in games.glob("*.bz2")})
        there = _hashes(demos)
        expect(
            all(there.get(n) == h for n, h in sound.items() if n != victim), "another game differs"
        )
        reason = dict(demos.skipped).get(ruined.name)
        _judge_replay(path, None if reason else _reference(path))
        if reason:
            raise IsocloneError(reason)
        info = next(info for info in demos.episodes if info.name == ruined.name)
        _judge_game(demos, info, path)

    return Target(ruin, answer)


def _version(path: Path) -> int:
    return int(path.name.partition(".ttyrec")[2].removesuffix(".bz2") or 1)


def _reference(path: Path) -> tuple[np.ndarray, ...]:
    """All frames as NLE's converter has them: characters, colours, cursor, keys, scores."""
    stream = bz2.decompress(path.read_bytes())
    more = stream + Record(bytes(8), 0, b" ").packed()  # NLE 1.3 does not read the last record
    longer = path.with_suffix(".longer")
    longer.write_bytes(bz2.compress(more))
    count = sum(record.channel == 1 for record in records_of(stream))
    arrays = reader._arrays(count + 1)
    converter = reader._converter(_version(path))
    converter.load_ttyrec(str(longer))
    expect(converter.convert(*arrays) == 1, "NLE's converter counts other frames")
    longer.unlink()
    chars, colors, cursor, _, keys, scores = (array[:count] for array in arrays)
    return chars, colors.view(np.uint8), cursor, keys, scores


def _judge_game(demos: NldDemonstrations, info: GameInfo, path: Path) -> None:
    """A game in the store against NLE's converter, and its keys and scores against the records."""
    theirs, file = _reference(path), GameFile(demos.episode_path(info.index))
    batches = [file.screens(i) for i in range(file.batches)]
    ours = [np.concatenate(parts) for parts in zip(*batches, strict=True)]
    for name, a, b in zip(("chars", "colours", "cursor"), ours, theirs, strict=False):
        expect(np.array_equal(a, b), f"other {name}")
    keys, scores = file.moves()
    records = records_of(bz2.decompress(path.read_bytes()))
    expect(keys.tolist() == [r.data[0] for r in records if r.channel == 1], "other keys")
    told = [struct.unpack("<i", r.data)[0] for r in records if r.channel == 2][: len(keys)]
    if _version(path) == 3:
        expect(scores.tolist() == told, "other scores")
    play = slice(info.cut_opening, info.cut_opening + info.length)
    actions = np.array(demos.action_of_key)[keys[play]]
    expect(np.array_equal(demos.read(info.index).actions, actions), "other actions")
    expect(demos.samples_of(info) == (actions >= 0).sum(), "masked frames are miscounted")


def _judge_replay(path: Path, frames: tuple[np.ndarray, ...] | None) -> None:
    """`isoclone play` of a recording, by its last frames; refused where the import refuses it."""
    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        code = main(["play", str(path), "--json", "--at", "-2", "--frames", "2"])
    expect("Traceback" not in said.getvalue(), "a traceback on stderr")
    if frames is None:  # the import asks for more: keys, a version with keys, frames that are play
        expect(code == 0 or len(said.getvalue().splitlines()) == 1, "not told in one line")
        return
    expect(code == 0, f"cannot be replayed: {said.getvalue()}")
    told = json.loads(out.getvalue())
    expect(told["frames"] == len(frames[0]), "replayed short")
    scores = [shot["score"] for shot in told["shown"]]
    expect(scores == frames[4][-len(scores) :].tolist(), "replayed otherwise")


# ---------------------------------------------------------------------- xlogfiles


def xlogfiles(seeds: Path, work: Path) -> Target:
    log, table = seeds / "games" / "nle.7.xlogfile", seeds / "games" / TABLE
    fields = [line.split("\t") for line in log.read_text("latin-1").splitlines()]
    rows = list(csv.reader(table.read_text().splitlines()))
    by_rule = {info.name: info for info in NldDemonstrations.open(seeds / "by-rule").episodes}
    sound = _hashes(NldDemonstrations.open(seeds / "store"))

    def ruin(draw: Draw) -> tuple[str, bytes]:
        which = draw(st.sampled_from([log.name, log.name, TABLE]))
        how = draw(st.sampled_from(["bytes", "cells", "cells", "values"]))
        if how == "bytes":
            return which, mutate.damaged_bytes(draw, (seeds / "games" / which).read_bytes())
        if which == TABLE:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(mutate.damaged_table(draw, rows))
            return which, text.getvalue().encode(errors="surrogatepass")
        lines = (
            _other_values(draw, fields) if how == "values" else mutate.damaged_table(draw, fields)
        )
        return which, "\n".join("\t".join(line) for line in lines).encode("utf-8", "surrogatepass")

    def answer(ruined: tuple[str, bytes]) -> None:
        games = _fresh(seeds, work)
        (games / ruined[0]).write_bytes(ruined[1])
        demos = _imported(games, work, where="points >= 0 or points < 0 or turns >= 0")
        _all_told(demos, set(by_rule))
        expect(_hashes(demos).items() <= sound.items(), "a game's frames differ")
        logs, counts = _read_log(games / log.name), _read_table(games / TABLE)
        for info in demos.episodes:
            _judge_facts(info, logs.get(info.name, []))
            _judge_counts(info, counts.get(info.name, []), by_rule[info.name].length)
        for name, reason in demos.skipped:
            expect("not (points" in reason or name not in logs, f"{name} has a log: {reason}")
        demos.game()

    return Target(ruin, answer)


def _other_values(draw: Draw, lines: list[list[str]]) -> list[list[str]]:
    """One to three fields with other values under the same names."""
    lines = [list(line) for line in lines]
    for _ in range(draw(st.integers(1, 3))):
        line = draw(st.sampled_from(lines))
        at = draw(st.integers(0, len(line) - 1))
        value = draw(st.one_of(mutate.VALUES, mutate.NUMBERS, st.text(max_size=6)))
        line[at] = f"{line[at].partition('=')[0]}={value}"
    return lines


def _read_log(path: Path) -> dict[str, list[dict[str, str]]]:
    """All that the xlogfile says of each recording."""
    logs: dict[str, list[dict[str, str]]] = {}
    for line in path.read_bytes().decode("latin-1").split("\n"):
        fields = dict(w.partition("=")[::2] for w in line.removesuffix("\r").split("\t") if w)
        if "ttyrecname" in fields:
            logs.setdefault(fields["ttyrecname"], []).append(fields)
    return logs


def _read_table(path: Path) -> dict[str, list[dict[str, str]]]:
    """All that games.csv says of each recording."""
    rows: dict[str, list[dict[str, str]]] = {}
    with contextlib.suppress(csv.Error), path.open(newline="", errors="replace") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row.get("ttyrec") or "", []).append(row)
    return rows


def _judge_facts(info: GameInfo, logs: list[dict[str, str]]) -> None:
    expect(len(logs) > 0, f"{info.name} has no log and was imported")
    kept = {"points": info.points, "turns": info.turns, "maxlvl": info.max_depth, "role": info.role}
    for log in logs:
        for name, value in kept.items():
            said = log.get(name)
            same = said is None if value is None else said and type(value)(said) == value
            expect(bool(same) or said == value == "", f"{name}: {value!r} was {said!r}")
        death = log.get("death", "") + (f" while {log['while']}" if "while" in log else "")
        expect((info.death or "") == death, f"{info.death!r} was {death!r}")


def _judge_counts(info: GameInfo, rows: list[dict[str, str]], by_rule: int) -> None:
    """The recorder's seed and count of steps, wherever the table still tells them."""
    expect(bool(rows) or info.seed is None, f"{info.name}: a seed from nowhere")
    steps = {row.get("env_steps") or None for row in rows} or {None}
    expect(len(steps) == 1, f"{info.name}: {steps} are all told, and one was taken")
    (count,) = steps
    wanted = by_rule if count is None else min(by_rule, int(count))
    expect(info.length == wanted, f"{info.length} frames of play, {wanted} were told")
    for row in rows:
        expect(not row.get("seed") or info.seed == int(row["seed"]), "another seed")


# ---------------------------------------------------------------------- conditions

EXPRESSIONS = """
role == 'Mon' and death != 'quit'
points > 10000 or ( maxlvl >= 5 and 'soldier ant' not in death )
role in ( 'Mon' , 'Val' ) and not turns < 300
1000 < points <= 7287 and alignment == 'Neu'
not ( not depth >= 4 ) or - points > -3
gender not in [ 'Fem' , 'Mal' ] or achieve == 0x1f
"""
WORDS = """
role points death depth nothing == != < <= > >= in not and or ( ) [ ] , - + * ** ~ 'Mon' "x 'x b'x'
f'{points}' 3 0x1f 1_0 1e999 1j None True ... lambda: if else := : ; \\ # $ points.real death[0]
print(points) __import__('os') __class__ {} *points ' ` 012 9if １２ é ª
"""


_NAMES = st.sampled_from(
    ["role", "points", "death", "maxlvl", "depth", "turns", "alignment", "achieve"]
)
_VALUES = st.one_of(
    st.integers(-5, 20_000).map(str), st.sampled_from(["'Mon'", "'quit'", "0x1f", "1e3", "'a'"])
)
_LISTS = st.lists(_VALUES, max_size=3).map(lambda values: f"[{', '.join(values)}]")
_COMPARED = st.builds(
    " ".join,
    st.tuples(
        _NAMES,
        st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in"]),
        st.one_of(_VALUES, _NAMES),
    )
    | st.tuples(st.one_of(_VALUES, _NAMES), st.sampled_from(["in", "not in"]), _LISTS)
    | st.tuples(_VALUES, st.just("<"), _NAMES, st.just("<="), _VALUES),
)
WELL_FORMED = st.recursive(
    _COMPARED,
    lambda inner: (
        inner.map(lambda text: f"not ({text})")
        | st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner)
    ),
    max_leaves=6,
)


def conditions(seeds: Path, work: Path) -> Target:
    log = next(iter(read_xlogfile(seeds / "games" / "nle.7.xlogfile").values()))
    lines = [line.split() for line in EXPRESSIONS.strip().splitlines()]
    deep = st.builds(
        lambda left, n, middle, right: left * n + middle + right * n,
        st.sampled_from(["(", "[", "not ", "-", "(not ", "((", "points < ", "points and ("]),
        st.sampled_from([1, 3, 40, 120, 300, 5_000, 100_000]),
        st.sampled_from(["points < 3", "points", "role == 'Mon'", ""]),
        st.sampled_from(["", ")", "]", "))"]),
    )
    spare = st.sampled_from(
        [*WORDS.split(), "\n", "\x00", "\ud800", "9" * 5_000, "'" + "x" * 5_000]
    )

    def ruin(draw: Draw) -> tuple[str, list[str]]:
        missing = draw(st.lists(st.sampled_from(sorted(log)), max_size=3))
        how = draw(st.integers(0, 5))
        if how < 3:
            return draw(deep if how == 0 else WELL_FORMED), missing
        words = draw(st.sampled_from(lines))
        words = [word for word in words if draw(st.integers(0, 30))]
        return " ".join(mutate.damaged_words(draw, words, spare)), missing

    def answer(ruined: tuple[str, list[str]]) -> None:
        text, missing = ruined
        fields = {name: value for name, value in log.items() if name not in missing}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = Where(text, FIELDS)(fields)
            tree = ast.parse(text, mode="eval")
            asked = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            known = {name: fields.get(name, fields.get(ALIASES.get(name, name))) for name in asked}
            if None in known.values():  # what it lacks may not be asked about, behind an `or`
                expect(isinstance(found, bool), "neither true nor false")
                return
            wanted = bool(eval(compile(tree, "", "eval"), {"__builtins__": {}}, known))
        expect(found is wanted, f"{found}, Python says {wanted}")

    return Target(ruin, answer)


# ---------------------------------------------------------------------- imported games


def games(seeds: Path, work: Path) -> Target:
    whole = NldDemonstrations.open(seeds / "store")
    contents = _contents(whole)
    files = [p.relative_to(whole.path) for p in sorted(whole.path.rglob("*.arrow"))]
    table = Path("demonstrations.json")

    def ruin(draw: Draw) -> tuple[Path, bytes]:
        how = draw(st.sampled_from(["bytes", "bytes", "json", "edited", "edited"]))
        if how == "bytes":
            name = draw(st.sampled_from(files))
            return name, mutate.damaged_bytes(draw, (whole.path / name).read_bytes())
        value = read_json(whole.path / table)
        if how == "json":
            return table, mutate.json_text(draw, value)
        value = mutate.damaged_json(draw, value)
        with contextlib.suppress(Exception):  # whoever edits it may count anew, too
            value["table_digest"] = table_digest(value)
        return table, json.dumps(value).encode()

    def answer(ruined: tuple[Path, bytes]) -> None:
        path = work / "store"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(whole.path, path)
        (path / ruined[0]).write_bytes(ruined[1])
        with contextlib.suppress(IsocloneError):  # as a worker does, after one who has looked
            _contents(NldDemonstrations.open(path, verify=False))
        demos = NldDemonstrations.open(path)
        found = _contents(demos)
        for info in demos.episodes:
            expect(demos.episode_path(info.index).is_relative_to(path), "outside of the store")
        if demos == whole:
            expect(found == contents, "games differ")

    return Target(ruin, answer)


def _contents(demos: NldDemonstrations) -> list[bytes]:
    """All that can be read, each part checked for its length."""
    found = []
    for info in demos.episodes:
        game = demos.read(info.index)
        expect({len(part) for part in astuple(game)} == {info.length}, "a game is short")
        found += [part.tobytes() for part in astuple(game)]
    unrolls = Unrolls(demos, "train", lanes=2, unroll=8, seed=0)
    stretches = [*(unrolls.take(k) for k in range(12)), *whole_games(demos, "dev", 1, 16)]
    found += [part.tobytes() for unroll in stretches for part in astuple(unroll)]
    demos.score()
    demos.game()
    return found


ALL: dict[str, Maker] = {
    "ttyrecs": ttyrecs,
    "xlogfiles": xlogfiles,
    "conditions": conditions,
    "games": games,
}
