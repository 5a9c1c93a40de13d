"""What is fuzzed: for each kind, how an input is ruined, and what a right answer to it is.

Of toy studies; NetHack's recordings are in `recordings.py`.

| kind           | ruined                                | right answer                           |
|----------------|---------------------------------------|----------------------------------------|
| demonstrations | bytes or JSON of a recorded directory | every episode's contents as recorded   |
| specs          | bytes or JSON of study.json           | every field kept as it was given       |
| fields         | Python values for `Study.create`      | a study that is the same read again    |
| tables         | cells or bytes of CSV and Parquet     | every row used or counted as left out  |
| checkpoints    | bytes or header of safetensors        | the same logits as before              |
| studies        | points, runs, laws of a study         | every point as its file says           |
| arguments      | words of the command line             | exit code 0, 1 or 2; JSON where asked  |
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import mutate
import numpy as np
import torch
from hypothesis import strategies as st
from kinds import Maker, Target, expect
from mutate import Draw

from isoclone.agents.checkpoint import load_checkpoint
from isoclone.base.errors import IsocloneError
from isoclone.base.records import canonical_json
from isoclone.base.store import read_json
from isoclone.cli import main
from isoclone.demos import FrameDemonstrations, RecordRequest, open_cache, record
from isoclone.laws.tables import read
from isoclone.study import pipeline
from isoclone.study.builtins import builtin
from isoclone.study.fit import fit
from isoclone.study.spec import StudySpec
from isoclone.study.study import Study

# ---------------------------------------------------------------------- seeds


def make_seeds(folder: Path) -> None:
    """A sound study of the toy game, small enough to be ruined thousands of times."""
    spec = builtin("toy").replace(
        name="seed",
        game_options={"max_steps": 30},
        samples=200,
        widths=(2, 3, 4),
        budgets_flops=(1e6, 3e6, 1e7),
        episodes=2,
        forecast_episodes=2,
        dev_samples=60,
        extend=0,
        adaptive=False,
    )
    pipeline.run(Study.create(folder / "study", spec))
    request = RecordRequest("toy", "scripted", 100, game_options={"max_steps": 30})
    open_cache(record(request, folder / "demos"), "standardise", "rows")


# ---------------------------------------------------------------------- demonstrations


def demonstrations(seeds: Path, work: Path) -> Target:
    whole = FrameDemonstrations.open(seeds / "demos")
    contents = [episode.content_sha256() for episode in whole]
    sound = open_cache(whole, "standardise", "rows")
    files = sorted(p.relative_to(whole.path) for p in whole.path.rglob("*") if p.is_file())
    read_ones = [p for p in files if p.stem not in ("episodes", "codes")]

    def ruin(draw: Draw) -> tuple[Path, bytes]:
        name = draw(st.sampled_from(read_ones))
        data = (whole.path / name).read_bytes()
        if name.suffix == ".json":
            return name, mutate.json_text(draw, read_json(whole.path / name))
        return name, mutate.damaged_bytes(draw, data)

    def answer(ruined: tuple[Path, bytes]) -> None:
        path = work / "demos"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(whole.path, path)
        (path / ruined[0]).write_bytes(ruined[1])
        record(RecordRequest("toy", "scripted", 100, game_options={"max_steps": 30}), path)
        demos = FrameDemonstrations.open(path)
        expect([e.content_sha256() for e in demos] == contents, "episodes differ")
        same = ("episodes", "dev_episodes", "fingerprint", "game_name", "game_options", "frame")
        for name in (*same, "n_actions", "expert_name"):
            expect(getattr(demos, name) == getattr(whole, name), f"{name} differs")
        cache = open_cache(demos, "standardise", "rows")
        for name in ("codes", "actions", "train", "dev"):
            same = np.array_equal(getattr(cache, name), getattr(sound, name))
            expect(same, f"the cache holds other {name}")

    return Target(ruin, answer)


# ---------------------------------------------------------------------- specifications


def specs(seeds: Path, work: Path) -> Target:
    data = read_json(seeds / "study" / "study.json")

    def ruin(draw: Draw) -> bytes:
        return mutate.json_text(draw, data)

    def answer(ruined: bytes) -> None:
        path = work / "spec"
        path.mkdir(exist_ok=True)
        (path / "study.json").write_bytes(ruined)
        spec = Study.open(path).spec
        given = json.loads(ruined)["spec"]
        kept = spec.to_json()
        for name, value in given.items():
            expect(
                canonical(kept[name]) == canonical(value), f"{name}: {value} became {kept[name]}"
            )
        _usable(spec)

    return Target(ruin, answer)


def canonical(value: Any) -> str:
    """Equal for what JSON cannot tell apart: 1 and 1.0, tuples and lists."""
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _usable(spec: StudySpec) -> None:
    """What is accepted must be able to be planned, written down and read again."""
    canonical_json(spec.to_json())
    expect(StudySpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec, "not read again")
    for width in spec.widths:
        run = spec.run_for(width, spec.seeds[0], "0", spec.budgets_flops[0])
        expect(len(run.id) == 12, "no id")
    expect(math.isfinite(spec.forecast_budget), "no forecast budget")


def fields(seeds: Path, work: Path) -> Target:
    sound = read_json(seeds / "study" / "study.json")["spec"]
    python_values = st.one_of(
        mutate.VALUES,
        st.sampled_from([(), (1, 2), (2, 3, 4), {1: 2}, b"x", object, np.float32(3), np.int64(4)]),
        st.sampled_from([(1e6, math.nan), (2, "3", 4), [2.0, 3.0, 4.0], {"max_steps": "x"}]),
        st.sampled_from([np.array([2, 3, 4]), Path("x"), range(2, 5), {2, 3, 4}, "234", 3 + 1j]),
    )

    def ruin(draw: Draw) -> dict[str, Any]:
        given = dict(sound)
        for _ in range(draw(st.integers(1, 3))):
            name = draw(st.sampled_from([*sound, "wobble"]))
            given[name] = draw(python_values)
        return given

    def answer(given: dict[str, Any]) -> None:
        path = work / "fields"
        shutil.rmtree(path, ignore_errors=True)
        study = Study.create(path, **given)
        _usable(study.spec)
        expect(Study.open(path).spec == study.spec, "not the same on disk")

    return Target(ruin, answer)


# ---------------------------------------------------------------------- tables


def tables(seeds: Path, work: Path) -> Target:
    source = seeds / "study" / "points"
    with source.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.reader(file))
    parquet = source.with_suffix(".parquet").read_bytes()

    def ruin(draw: Draw) -> tuple[str, bytes]:
        how = draw(st.sampled_from(["cells", "cells", "cells", "csv", "parquet"]))
        if how == "parquet":
            return "runs.parquet", mutate.damaged_bytes(draw, parquet)
        changed = mutate.damaged_table(draw, rows) if how == "cells" else rows
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(changed)
        data = text.getvalue().encode(errors="surrogatepass")
        return "runs.csv", data if how == "cells" else mutate.damaged_bytes(draw, data)

    def answer(ruined: tuple[str, bytes]) -> None:
        path = work / ruined[0]
        path.write_bytes(ruined[1])
        table = read(path)
        there = _count_rows(path)
        expect(there is None or there == len(table), f"{there} rows, {len(table)} were read")
        for columns in table.groups().values():
            _judge_fit(columns)

    return Target(ruin, answer)


def _count_rows(path: Path) -> int | None:
    """Rows as the standard library counts them; None where it cannot say."""
    if path.suffix != ".csv":
        return None
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            found = list(csv.reader(file, strict=True))
    except (csv.Error, UnicodeDecodeError):
        return None
    return sum(1 for row in found[1:] if row)


def _judge_fit(columns: dict[str, Any]) -> None:
    from isoclone.laws import ScalingLaws
    from isoclone.laws.points import Points

    rows = len(columns["dev_loss"])
    points = Points.from_table(columns)
    left_out = sum(points.dropped.values())
    expect(len(points) + left_out == rows, f"{rows} rows, {len(points)} used, {left_out} left out")
    told = " ".join(status.message for status in points.status)
    expect(not left_out or "rows left out" in told, "rows were left out and nobody was told")
    forecast = ScalingLaws().fit(columns).forecast(flops=1e8)
    for name in ("params", "samples", "dev_loss", "return_mean"):
        interval = getattr(forecast, name)
        if interval is not None:
            expect(math.isfinite(interval.value), f"{name} is {interval.value}")
            expect(interval.holds(interval.value), f"{name} lies outside its own interval")


# ---------------------------------------------------------------------- checkpoints


def checkpoints(seeds: Path, work: Path) -> Target:
    source = sorted((seeds / "study").glob("runs/*/checkpoints/*.safetensors"))[0]
    data = source.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    inputs = torch.linspace(-1, 1, 2 * 2 * 12 * 12).reshape(2, 2, 12, 12)
    frames = np.arange(5 * 144, dtype=np.uint8).reshape(5, 12, 12)
    whole = load_checkpoint(source)
    logits, codes = whole.logits(inputs), whole.encoder.encode(frames)

    def ruin(draw: Draw) -> bytes:
        how = draw(st.sampled_from(["bytes", "bytes", "header", "metadata"]))
        if how == "bytes":
            return mutate.damaged_bytes(draw, data)
        new = json.loads(json.dumps(header))
        if how == "header":
            new = mutate.damaged_json(draw, new)
        else:
            inner = json.loads(new["__metadata__"]["isoclone"])
            text = mutate.json_text(draw, inner).decode(errors="replace")
            new["__metadata__"]["isoclone"] = text
        text = json.dumps(new).encode(errors="surrogatepass")
        return struct.pack("<Q", len(text)) + text + data[8 + size :]

    def answer(ruined: bytes) -> None:
        path = work / "ruined.safetensors"
        path.write_bytes(ruined)
        policy = load_checkpoint(path)
        expect(torch.equal(policy.logits(inputs), logits), "other logits")
        expect((policy.encoder.encode(frames) == codes).all(), "frames are encoded otherwise")
        expect(policy.run == whole.run, "another run")

    return Target(ruin, answer)


# ---------------------------------------------------------------------- study directories


def studies(seeds: Path, work: Path) -> Target:
    whole = seeds / "study"
    names = [p.relative_to(whole) for p in sorted(whole.glob("runs/*/points/*.json"))]
    names += [p.relative_to(whole) for p in sorted(whole.glob("runs/*/run.json"))]
    names += [Path(name) for name in ("references.json", "laws.json", "forecast.json")]
    names += [p.relative_to(whole) for p in sorted(whole.glob("runs/*/progress.json"))]

    def ruin(draw: Draw) -> tuple[Path, bytes]:
        name = draw(st.sampled_from(names))
        return name, mutate.json_text(draw, read_json(whole / name))

    def answer(ruined: tuple[Path, bytes]) -> None:
        path = work / "study"
        if not path.exists():
            shutil.copytree(whole, path, ignore=shutil.ignore_patterns("*.mp4", "*.html"))
        sound = (path / ruined[0]).read_bytes()
        (path / ruined[0]).write_bytes(ruined[1])
        try:
            _judge_study(path)
        finally:
            (path / ruined[0]).write_bytes(sound)

    return Target(ruin, answer)


def _judge_study(path: Path) -> None:
    from isoclone.cli.console import point_line, read_progress

    study = Study.open(path)
    points = study.points(None)
    files = list(path.glob("runs/*/points/*.json"))
    expect(len(points) == len(files), "a point was lost")
    kept = {(p.run_id, p.budget_flops): p.to_json() for p in points}
    for said in (read_json(file) for file in files):
        row = kept[said["run_id"], said["budget_flops"]]
        for name, value in said.items():
            expect(canonical(row[name]) == canonical(value), f"{name}: {value} became {row[name]}")
    for point in points:
        point_line(point)
    study.sweep()
    study.savings()
    study.runs()
    read_progress(path)
    references = study.references()
    fit(study.points(), references)


# ---------------------------------------------------------------------- command line

# Cheap when they are as they should be. Spare words are wrong, or as cheap: nothing asked for by
# chance may be a day's honest work.
COMMANDS = """
plan {study} --json
status {study} --json
status {study}
demos show {study} --json
demos show {demos}
evaluate {weights} --episodes 1 --seed 3 --sampling argmax --json
evaluate {weights} --episodes 1 --demos {demos}
play {weights} --out {work}/play.mp4 --json
demos record toy --out {work}/new --samples 40 --max-steps 20 --executor serial --json
games toy --json
expert score scripted toy --episodes 1 --max-steps 20 --json
laws fit {study}/points.csv --json
laws forecast {study}/points.csv --flops 1e8 --json
laws backtest {study}/points.csv --cap none --json
laws recount {study}/points.csv --to 6nd --json
laws plan {study}/points.csv --target-loss 0.9 --json
train {study} --width 2 --flops 1e6 --seed 0 --json
run {study} --executor serial --json
run toy --samples 50 --widths 2 3 4 --budgets 1e6 2e6 --out {study}
published tuyls2023 {study}
"""
SPARE = """
nan inf -inf -1 0 1 2 3.5 1e-9 1e400 0x10 -- - --json --help --out --demos --seed --seeds --widths
--budgets --episodes --device --workers --sampling --recipe --group --to --wobble --trust cuda:9 cpu
mps sample argmax exact lean paper None True [] {} ; * . .. / ~ /etc/passwd /dev/null /nowhere
{study} {demos} {weights} {work} {study}/study.json {study}/points.parquet {study}/report.html
{demos}/demonstrations.json {demos}/episodes/000000.parquet atari/Nowhere gym/Nowhere-v0
sb3/nobody <b> é １ plan status laws fit toy.py
"""


def arguments(seeds: Path, work: Path) -> Target:
    weights = sorted((seeds / "study").glob("runs/*/checkpoints/*.safetensors"))[0]
    shutil.copytree(seeds / "study", work / "study")
    places = {"study": work / "study", "demos": seeds / "demos", "weights": weights, "work": work}
    commands = [line.format(**places).split() for line in COMMANDS.split("\n") if line]
    spare = SPARE.replace("{}", "{{}}").format(**places).split()
    words = st.sampled_from([*spare, "", " ", "\n", "\x00", "\udcff", "x" * 300, "a" * 5_000])

    def ruin(draw: Draw) -> list[str]:
        return mutate.damaged_words(draw, draw(st.sampled_from(commands)), words)

    def answer(given: list[str]) -> None:
        if {"breakout", "train"} & set(given[1:]):
            return
        os.chdir(work)
        out, said = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
            try:
                code = main(given)
            except SystemExit as left:
                code = left.code if isinstance(left.code, int) else 1
        out.flush()
        expect("Traceback" not in said.getvalue(), "a traceback on stderr")
        expect(code in (0, 1, 2), f"exit code {code}")
        lines = [line for line in said.getvalue().splitlines() if line.startswith("isoclone: ")]
        expect(
            code == 0 or len(lines) == 1, f"{len(lines)} lines say why: {said.getvalue()[-300:]}"
        )
        if code:
            raise IsocloneError(lines[0])
        if "--json" in given and "--help" not in given and "-h" not in given:
            json.loads(out.buffer.getvalue())  # type: ignore[attr-defined]

    return Target(ruin, answer)


ALL: dict[str, Maker] = {
    "demonstrations": demonstrations,
    "specs": specs,
    "fields": fields,
    "tables": tables,
    "checkpoints": checkpoints,
    "studies": studies,
    "arguments": arguments,
}
