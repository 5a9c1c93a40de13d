"""What others made, as fuzzed inputs: see `targets.py` for how a kind is made.

| kind                | ruined                                | right answer                       |
|---------------------|---------------------------------------|------------------------------------|
| foreign-datasets    | bytes or JSON of a dataset in each    | every episode whole, or left out   |
|                     | format                                | and counted; verified when opened  |
| observation-streams | parts of episodes of many spaces, as  | frames and actions as the readers  |
|                     | Python values                         | make them one by one, or left out  |
|                     |                                       | and counted                        |
| expert-files        | bytes or JSON of SB3 zips, bytes of   | the same actions, if weights are   |
|                     | TorchScript                           | the same; else possible ones       |
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import mutate
import numpy as np
from gymnasium import spaces
from hypothesis import strategies as st
from kinds import Maker, Target, expect
from mutate import Draw

import isoclone as ic
from isoclone.demos import FrameDemonstrations
from isoclone.demos.foreign.read import row
from isoclone.games import game
from isoclone.games.data import Data
from isoclone.games.described import described

EPISODES, STEPS = 5, 8

# ---------------------------------------------------------------------- seeds


def play() -> list[tuple[Any, ...]]:
    """Real episodes of CartPole, eight steps each."""
    env, played = gymnasium.make("CartPole-v1"), []
    for number in range(EPISODES):
        seen = [env.reset(seed=number)[0]]
        actions = (np.arange(STEPS) + number) % 2
        seen += [env.step(int(action))[0] for action in actions]
        played.append((np.array(seen), actions, np.ones(STEPS), False, True))
    env.close()
    return played


def make_seeds(folder: Path) -> None:
    """A small dataset in each format, and small experts."""
    folder.mkdir(parents=True)
    played = play()
    columns = _columns(played)
    np.savez(folder / "a.npz", **columns)
    np.savez_compressed(folder / "b.npz", **columns)
    (folder / "npy").mkdir()
    for name, column in columns.items():
        np.save(folder / "npy" / f"{name}.npy", column)
    _write_hdf5(folder / "a.hdf5", columns)
    _write_zarr(folder / "a.zarr", columns)
    _write_parquet(folder, played, columns)
    _write_lerobot(folder / "robot", played)
    _write_minari(folder / "minari", played)


def _columns(played: list[tuple[Any, ...]]) -> dict[str, np.ndarray]:
    columns = {
        "observations": np.concatenate([one[0][:-1] for one in played]),
        "actions": np.concatenate([one[1] for one in played]),
        "rewards": np.concatenate([one[2] for one in played]),
    }
    ends = np.arange(len(columns["actions"])) % STEPS == STEPS - 1
    return {**columns, "terminated": np.zeros_like(ends), "truncated": ends}


def _write_hdf5(path: Path, columns: dict[str, np.ndarray]) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        for name, column in columns.items():
            file.create_dataset(name, data=column, fletcher32=True, chunks=column.shape)


def _write_zarr(path: Path, columns: dict[str, np.ndarray]) -> None:
    import zarr

    group = zarr.open_group(str(path), mode="w")
    for name, column in columns.items():
        group.create_array(name, data=column)


def _write_parquet(
    folder: Path, played: list[tuple[Any, ...]], columns: dict[str, np.ndarray]
) -> None:
    import cv2
    import pyarrow as pa
    import pyarrow.parquet as pq

    by_step = {**columns, "observations": pa.array(columns["observations"].tolist())}
    pq.write_table(pa.table(by_step), folder / "steps.parquet", write_page_checksum=True)
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    png = cv2.imencode(".png", picture)[1].tobytes()
    seen = [[{"bytes": png, "path": None}] * STEPS] * EPISODES
    rows = {"observation": seen, "action": [one[1].tolist() for one in played]}
    pq.write_table(pa.table(rows), folder / "rows.parquet", write_page_checksum=True)


def _write_lerobot(root: Path, played: list[tuple[Any, ...]]) -> None:
    import av
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    episodes, files = [], "chunk-{chunk_index:03d}/file-{file_index:03d}"
    for number, one in enumerate(played):
        first = len(rows)
        for k in range(STEPS):
            row = {"observation.state": one[0][k].tolist(), "action": int(one[1][k])}
            rows.append(row | {"index": len(rows), "episode_index": number})
        place = {"data/chunk_index": 0, "data/file_index": 0}
        place |= {f"videos/eye/{what}": 0 for what in ("chunk_index", "file_index")}
        place |= {"videos/eye/from_timestamp": first / 10}
        ends = {"dataset_from_index": first, "dataset_to_index": len(rows)}
        episodes.append({"episode_index": number, **place, **ends})
    for folder, table in (("data", rows), ("meta/episodes", episodes)):
        (root / folder / "chunk-000").mkdir(parents=True)
        where = root / folder / "chunk-000" / "file-000.parquet"
        pq.write_table(pa.Table.from_pylist(table), where, write_page_checksum=True)
    (root / "videos/eye/chunk-000").mkdir(parents=True)
    with av.open(str(root / "videos/eye/chunk-000/file-000.mp4"), "w") as file:
        stream = file.add_stream("libx264rgb", rate=10, options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "rgb24"
        for k in range(len(rows)):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 5 * k, np.uint8))
            for packet in [*stream.encode(picture)]:
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
    features = {"eye": {"dtype": "video"}, "observation.state": {"dtype": "float32"}}
    info = {"codebase_version": "v3.0", "fps": 10, "data_path": f"data/{files}.parquet"}
    info |= {"features": {**features, "action": {"dtype": "int64"}}}
    info |= {"video_path": f"videos/{{video_key}}/{files}.mp4"}
    (root / "meta" / "info.json").write_text(json.dumps(info))


def _write_minari(place: Path, played: list[tuple[Any, ...]]) -> None:
    os.environ["MINARI_DATASETS_PATH"] = str(place)
    import minari
    from minari.data_collector import EpisodeBuffer

    buffers = []
    for number, (seen, actions, rewards, *_) in enumerate(played):
        cut = np.arange(STEPS) == STEPS - 1
        flags = np.zeros(STEPS, bool), cut
        buffers.append(EpisodeBuffer(number, None, None, seen, actions, rewards, *flags))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(
            "seed-v0",
            buffers,
            observation_space=spaces.Box(-np.inf, np.inf, (4,), np.float32),
            action_space=spaces.Discrete(2),
        )


def _write_experts(folder: Path) -> None:
    import torch
    from stable_baselines3 import PPO

    model = PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, seed=0, device="cpu",
                policy_kwargs={"net_arch": [4]})  # fmt: skip
    model.save(folder / "ppo.zip")
    torch.jit.script(torch.nn.Linear(4, 2)).save(str(folder / "net.pt"))


# ---------------------------------------------------------------------- datasets

SOURCES: dict[str, tuple[str, dict[str, Any]]] = {
    "a.npz": ("arrays", {}),
    "b.npz": ("arrays", {}),
    "npy": ("arrays", {}),
    "a.hdf5": ("arrays", {}),
    "a.zarr": ("arrays", {}),
    "steps.parquet": ("parquet", {}),
    "rows.parquet": ("parquet", {}),
    "robot": ("lerobot", {"observations": "observation.state,eye"}),
    "minari/seed-v0": ("minari", {}),
}


def foreign_datasets(seeds: Path, work: Path) -> Target:
    files = {
        name: sorted(p.relative_to(seeds) for p in (seeds / name).rglob("*") if p.is_file())
        or [Path(name)]
        for name in SOURCES
    }

    def ruin(draw: Draw) -> tuple[str, Path, bytes]:
        name = draw(st.sampled_from(list(SOURCES)))
        file = draw(st.sampled_from(files[name]))
        data = (seeds / file).read_bytes()
        if file.suffix == ".json" and draw(st.booleans()):
            return name, file, mutate.json_text(draw, json.loads(data))
        return name, file, mutate.damaged_bytes(draw, data)

    def answer(ruined: tuple[str, Path, bytes]) -> None:
        name, file, data = ruined
        place, out = work / "source", work / "out"
        for folder in (place, out):
            shutil.rmtree(folder, ignore_errors=True)
        top = Path(name).parts[0]
        place.mkdir()
        copied = shutil.copytree if (seeds / top).is_dir() else shutil.copy
        copied(seeds / top, place / top)
        (place / file).write_bytes(data)
        kind, options = SOURCES[name]
        made = ic.import_demos(kind, str(place / name), path=out, options=options, bins=4)
        _judge(made, EPISODES, STEPS * EPISODES)

    return Target(ruin, answer)


def _judge(made: FrameDemonstrations, episodes: int, steps: int) -> None:
    """Check that demonstrations are whole, and that nothing is gone that is not counted."""
    opened = FrameDemonstrations.open(made.path)
    expect(opened == made, "opened again, they are others")
    assert made.imported is not None
    gone = made.imported["left_out"]
    for info, episode in zip(made.episodes, made, strict=True):
        expect(len(episode.actions) == len(episode.frames) == info.length > 0, "ragged")
        expect(bool(np.isfinite(episode.frames.astype(float)).all()), "a frame is not finite")
        sizes = made.action_sizes or (made.n_actions,)
        factors = episode.actions.reshape(info.length, -1)
        expect(bool(((factors >= 0) & (factors < np.array(sizes))).all()), "impossible actions")
    expect(made.samples >= steps or gone > 0, f"{steps - made.samples} steps are gone, unsaid")


# ---------------------------------------------------------------------- observations

BOX = spaces.Box(-10, 10, (3,))
SEEN = [
    BOX,
    spaces.Box(-np.inf, np.inf, (2,), np.float64),
    spaces.Box(0, 255, (5, 4), np.uint8),
    spaces.Box(0, 255, (36, 40, 3), np.uint8),
    spaces.Box(0, 9, (3, 6, 6), np.uint8),
    spaces.Box(-5, 5, (2, 2), np.int32),
    spaces.Discrete(4),
    spaces.MultiDiscrete([3, 2]),
    spaces.MultiBinary(3),
    spaces.Dict({"a": BOX, "b": spaces.Discrete(3)}),
    spaces.Tuple([spaces.Discrete(2), BOX]),
]
DONE = [
    spaces.Discrete(3),
    spaces.Discrete(4, start=-1),
    spaces.MultiDiscrete([3, 2]),
    spaces.MultiBinary(2),
    spaces.Box(-1, 1, (2,)),
    spaces.Box(0, 3, (1,), np.int64),
    spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Box(0, 1, (1,))}),
]
ODD = [None, "up", b"x", np.nan, np.inf, -1, 1e300, 2**70, True, {}, (), [[1], [1, 2]], object]
DTYPES = ["f4", "f8", "f2", "i1", "i8", "u8", "b1", "c8", "O", "U3"]


def observation_streams(seeds: Path, work: Path) -> Target:
    def ruin(draw: Draw) -> dict[str, Any]:
        seen, done = draw(st.sampled_from(SEEN)), draw(st.sampled_from(DONE))
        for k, space in enumerate((seen, done)):
            space.seed(draw(st.integers(0, 99)) + k)
        episodes = [_episode(draw, seen, done) for _ in range(4)]
        return {"seen": seen, "done": done, "said": draw(st.booleans()), "episodes": episodes}

    def answer(given: dict[str, Any]) -> None:
        out = work / "out"
        shutil.rmtree(out, ignore_errors=True)
        known = given["said"]
        said = {"observation_space": given["seen"], "action_space": given["done"]} if known else {}
        episodes = [tuple(copy.deepcopy(part) for part in one) for one in given["episodes"]]
        made = ic.demos_from(episodes, path=out, **said)
        _judge(made, 4, 0)
        assert made.imported is not None
        expect(len(made.episodes) + made.imported["left_out"] == 4, "an episode is gone, unsaid")
        if known:
            _judge_reading(made, given)

    return Target(ruin, answer)


def _episode(draw: Draw, seen: Any, done: Any) -> list[Any]:
    steps = draw(st.integers(1, 4))
    parts = [
        _column(draw, seen, steps + draw(st.integers(0, 1))),
        _column(draw, done, steps),
        draw(st.sampled_from([np.ones(steps), None, np.arange(steps), [0.5] * steps])),
        draw(st.sampled_from([True, False, None, np.arange(steps) == steps - 1])),
        draw(st.sampled_from([True, False, None])),
    ]
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        where = draw(st.integers(0, 4))
        parts[where] = _ruined(draw, parts[where])
    return parts


def _column(draw: Draw, space: Any, steps: int) -> Any:
    samples = [space.sample() for _ in range(steps)]
    if draw(st.booleans()):
        return samples
    if isinstance(space, spaces.Dict):
        return {name: np.array([one[name] for one in samples]) for name in space.spaces}
    if isinstance(space, spaces.Tuple):
        return tuple(np.array([one[k] for one in samples]) for k in range(len(space.spaces)))
    return np.array(samples)


def _ruined(draw: Draw, part: Any) -> Any:
    how = draw(st.sampled_from(["odd", "entry", "dtype", "cut", "shape", "value"]))
    if how == "odd":
        return copy.copy(draw(st.sampled_from(ODD)))
    if how == "entry" and isinstance(part, list) and part:
        part = list(part)
        part[draw(st.integers(0, len(part) - 1))] = copy.copy(draw(st.sampled_from(ODD)))
        return part
    if isinstance(part, dict) and part:
        name = draw(st.sampled_from(sorted(part)))
        return {**part, name: _ruined(draw, part[name])}
    if not isinstance(part, np.ndarray):
        return part[:-1] if isinstance(part, list | tuple) else part
    if how == "cut":
        return part[:-1]
    if how == "shape":
        return part[..., None] if draw(st.booleans()) else part.reshape(-1)
    unfit = TypeError, ValueError, OverflowError, IndexError
    with contextlib.suppress(*unfit), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if how == "dtype":
            return part.astype(draw(st.sampled_from(DTYPES)))
        part = part.copy()
        value = draw(st.sampled_from([np.nan, np.inf, -1, 255, 300, 1e39, 2**31, 1.7e9]))
        part.reshape(-1)[draw(st.integers(0, max(part.size - 1, 0)))] = value
    return part


def _judge_reading(made: FrameDemonstrations, given: dict[str, Any]) -> None:
    """Hold the frames and actions to what the readers make of each step by itself."""
    spaces_of = Data(described(given["seen"]), described(given["done"])).spaces
    expected = []
    for seen, actions, *_ in given["episodes"]:
        with contextlib.suppress(Exception):
            if isinstance(actions, np.ndarray):  # a number, and a list of it alone, are the same
                single = {given["done"].shape, actions.shape[1:]} == {(), (1,)}
                actions = actions.reshape(-1, *given["done"].shape) if single else actions
            column = next(iter(actions.values())) if isinstance(actions, dict) else actions
            steps = range(len(column))
            frames = np.array([spaces_of.observations.read(row(seen, t)) for t in steps])
            one_by_one = [spaces_of.actions.to_index(row(actions, t)) for t in steps]
            expected.append((frames, np.array(one_by_one)))
    for episode in made:
        same = [
            np.array_equal(frames, episode.frames) and np.array_equal(actions, episode.actions)
            for frames, actions in expected
        ]
        expect(any(same), "frames or actions are read otherwise than one by one")


# ---------------------------------------------------------------------- experts


def expert_files(seeds: Path, work: Path) -> Target:
    from isoclone.demos.record import play as play_out
    from isoclone.experts import expert

    _write_experts(seeds)
    cart = game("gym/CartPole-v1", max_steps=6)

    def moves(path: Path) -> list[list[int]]:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            options = {"deterministic": True} if path.suffix == ".zip" else {}
            player = expert(str(path), cart, trust=True, **options)
            played = play_out(cart, player, 0, tuple(range(player.lockstep)))
            return [episode.actions.tolist() for _, _, episode, _ in played]

    whole = moves(seeds / "ppo.zip")

    def ruin(draw: Draw) -> tuple[str, bytes]:
        name = draw(st.sampled_from(["ppo.zip", "ppo.zip", "net.pt"]))
        data = (seeds / name).read_bytes()
        if name == "ppo.zip" and draw(st.booleans()):
            return name, _other_member(draw, data)
        return name, mutate.damaged_bytes(draw, data)

    def answer(ruined: tuple[str, bytes]) -> None:
        path = work / ruined[0]
        path.write_bytes(ruined[1])
        played = moves(path)
        expect(all(action in (0, 1) for one in played for action in one), "impossible actions")
        if path.suffix == ".zip" and _same_weights(path, seeds / "ppo.zip"):
            expect(played == whole, "the same weights act otherwise")

    return Target(ruin, answer)


def _other_member(draw: Draw, data: bytes) -> bytes:
    """A sound zip, one of whose members is ruined."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    name = draw(st.sampled_from(sorted(members)))
    if name == "data":
        members[name] = mutate.json_text(draw, json.loads(members[name]))
    else:
        members[name] = mutate.damaged_bytes(draw, members[name])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for member, content in members.items():
            file.writestr(member, content)
    return out.getvalue()


def _same_weights(one: Path, other: Path) -> bool:
    with contextlib.suppress(Exception), zipfile.ZipFile(one) as a, zipfile.ZipFile(other) as b:
        return all(a.read(name) == b.read(name) for name in b.namelist())
    return False


ALL: dict[str, Maker] = {
    "foreign-datasets": foreign_datasets,
    "observation-streams": observation_streams,
    "expert-files": expert_files,
}
