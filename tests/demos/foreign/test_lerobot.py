"""LeRobotDataset v3 folders, written here in that layout from real pictures of an environment."""

from __future__ import annotations

import json

import cv2
import gymnasium
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import isoclone as ic
from isoclone.base.errors import DataError

av = pytest.importorskip("av", reason="the extra 'lerobot' is not installed")
FPS, VIDEO = 10, "observation.image"
FILES = "chunk-{chunk_index:03d}/file-{file_index:03d}"


def play(episodes=4, length=6):
    """Yield pictures, states and two continuous actions of CartPole, episode by episode."""
    env = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    for number in range(episodes):
        state, pictures, states, actions = env.reset(seed=number)[0], [], [], []
        for _ in range(length + number):
            picture = cv2.resize(env.render(), (64, 48), interpolation=cv2.INTER_AREA)
            action = int(state[2] > 0)
            pictures.append(picture)
            states.append(state)
            actions.append([action - 0.25 * state[1], float(state[0])])
            state = env.step(action)[0]
        yield np.array(pictures), np.array(states), np.array(actions, np.float32)
    env.close()


@pytest.fixture(scope="module")
def robot(tmp_path_factory):
    """A dataset of four episodes, two in each video file, without loss."""
    root, played, rows, episodes = tmp_path_factory.mktemp("robot"), list(play()), [], []
    for number, (pictures, states, actions) in enumerate(played):
        first = len(rows)
        for k in range(len(pictures)):
            row = {"observation.state": states[k].tolist(), "action": actions[k].tolist()}
            times = {"timestamp": k / FPS, "frame_index": k, "episode_index": number}
            rows.append(row | times | {"index": len(rows), "task_index": 0, "next.reward": 1.0})
        begin = len(played[0][0]) / FPS if number in (1,) else 0.0
        begin = len(played[2][0]) / FPS if number == 3 else begin
        episodes.append(
            {
                "episode_index": number,
                "length": len(pictures),
                "data/chunk_index": 0,
                "data/file_index": 0,
                "dataset_from_index": first,
                "dataset_to_index": len(rows),
                f"videos/{VIDEO}/chunk_index": 0,
                f"videos/{VIDEO}/file_index": number // 2,
                f"videos/{VIDEO}/from_timestamp": begin,
            }
        )
    write_table(root / "data/chunk-000/file-000.parquet", rows)
    write_table(root / "meta/episodes/chunk-000/file-000.parquet", episodes)
    for file in range(2):
        both = np.concatenate([played[2 * file][0], played[2 * file + 1][0]])
        write_video(root / f"videos/{VIDEO}/chunk-000/file-{file:03d}.mp4", both)
    low, high = (edge(np.concatenate([p[2] for p in played]), 0) for edge in (np.min, np.max))
    stats = {"action": {"min": low.tolist(), "max": high.tolist()}}
    (root / "meta/stats.json").write_text(json.dumps(stats))
    features = {
        VIDEO: {"dtype": "video", "shape": [48, 64, 3]},
        "observation.state": {"dtype": "float32", "shape": [4]},
        "action": {"dtype": "float32", "shape": [2]},
        "next.reward": {"dtype": "float32", "shape": [1]},
    }
    info = {"codebase_version": "v3.0", "fps": FPS, "features": features}
    info |= {"data_path": f"data/{FILES}.parquet"}
    info |= {"video_path": f"videos/{{video_key}}/{FILES}.mp4"}
    (root / "meta/info.json").write_text(json.dumps(info))
    return root, played


def write_table(path, rows):
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_video(path, pictures):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264rgb", rate=FPS, options={"crf": "0"})
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = "rgb24"
        for picture in pictures:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)


def test_pictures_are_those_of_the_videos(tmp_path, robot):
    root, played = robot
    demos = ic.import_demos(
        "lerobot", str(root), path=tmp_path / "a", options={"observations": VIDEO},
        reading={"frames": "raw"}, bins=16,
    )  # fmt: skip
    assert demos.imported["left_out"] == 0
    for (pictures, _, actions), episode in zip(played, demos, strict=True):
        assert np.array_equal(episode.frames, pictures)
        assert episode.actions.shape == (len(actions), 2)
    every = np.concatenate([episode.actions for episode in demos])
    assert (every.min(0) == 0).all()
    assert (every.max(0) == 15).all()
    low, high = (edge(np.concatenate([p[2] for p in played]), 0) for edge in (np.min, np.max))
    values = demos.game().spaces.actions.to_action(demos.read(1).actions[2])
    assert np.allclose(values, played[1][2][2], atol=((high - low) / 32).max() + 1e-6)
    assert {info.end for info in demos.episodes} == {"unknown"}
    assert [info.episode_return for info in demos.episodes] == [6, 7, 8, 9]


def test_states_alone_need_no_video(tmp_path, robot):
    root, played = robot
    options = {"observations": "observation.state"}
    demos = ic.import_demos("lerobot", str(root), path=tmp_path / "a", options=options)
    for (_, states, _), episode in zip(played, demos, strict=True):
        assert np.array_equal(episode.frames, states)


def test_all_observations_become_one_frame(tmp_path, robot):
    demos = ic.import_demos("lerobot", str(robot[0]), path=tmp_path / "a", bins=4)
    assert demos.frame.shape == (84, 84, 5)  # a grey picture, and the four numbers


def changed(root, name, change, out):
    import shutil

    shutil.copytree(root, out)
    data = json.loads((out / name).read_text())
    change(data)
    (out / name).write_text(json.dumps(data))
    return out


def test_what_is_missing_or_wrong_is_named(tmp_path, robot):
    root = robot[0]
    old = {"codebase_version": "v2.1"}
    older = changed(root, "meta/info.json", lambda d: d.update(old), tmp_path / "o")
    with pytest.raises(DataError, match=r"version v2.1; convert it to v3.0"):
        ic.import_demos("lerobot", str(older), path=tmp_path / "a")
    with pytest.raises(DataError, match=r"has no feature arm; it has observation.image"):
        ic.import_demos("lerobot", str(root), path=tmp_path / "a", options={"observations": "arm"})
    with pytest.raises(DataError, match="is no LeRobotDataset"):
        ic.import_demos("lerobot", str(tmp_path), path=tmp_path / "a")
    out = changed(
        root, "meta/info.json", lambda d: d.update(data_path="../../etc/passwd"), tmp_path / "p"
    )
    with pytest.raises(DataError, match="leads out of the dataset"):
        ic.import_demos("lerobot", str(out), path=tmp_path / "a")


def states_only(robot, out):
    """A copy of the dataset, its steps as a table, and how to import it."""
    changed(robot[0], "meta/info.json", lambda d: d.update(total_episodes=4), out)
    file, options = out / "data/chunk-000/file-000.parquet", {"observations": "observation.state"}
    return (
        file,
        pq.read_table(file),
        lambda name: ic.import_demos("lerobot", str(out), path=out.parent / name, options=options),
    )


def test_steps_that_lie_out_of_order_are_put_in_order(tmp_path, robot):
    file, table, bring = states_only(robot, tmp_path / "r")
    straight = bring("a").fingerprint
    shuffled = np.random.default_rng(0).permutation(len(table))
    pq.write_table(table.take(shuffled), file, row_group_size=7)
    assert bring("b").fingerprint == straight
    pq.write_table(table, file, row_group_size=4)
    assert bring("c").fingerprint == straight
    frames = table["frame_index"].to_numpy().copy()
    frames[[1, 2]] = frames[[2, 1]]
    at = table.column_names.index("frame_index")
    pq.write_table(table.set_column(at, "frame_index", pa.array(frames)), file)
    demos = bring("d")
    assert demos.imported["left_out"] == 1
    assert "its frame_index does not rise" in demos.imported["why"][0][1]


def test_episodes_that_are_not_listed_or_missing_are_told(tmp_path, robot):
    file, table, bring = states_only(robot, tmp_path / "r")
    listed = tmp_path / "r/meta/episodes/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(listed).slice(0, 2), listed)
    demos = bring("a")
    assert (len(demos.episodes), demos.imported["left_out"]) == (2, 2)
    assert "episode 2: it has steps, and meta/episodes does" in demos.imported["why"][0][1]
    pq.write_table(table.slice(0, 13), file)
    with pytest.raises(DataError, match="has 2 of the 4 episodes"):
        bring("b")


def test_steps_beyond_the_limit_are_refused_by_their_headers(tmp_path, robot, monkeypatch):
    file, table, bring = states_only(robot, tmp_path / "r")
    name = "observation.state"
    wide = pa.array([[0.0] * 5000] * len(table), pa.list_(pa.float32()))
    table = table.set_column(table.column_names.index(name), name, wide)
    monkeypatch.setenv("ISOCLONE_UNPACK_LIMIT", "800k")
    pq.write_table(table, file, row_group_size=4)
    assert len(bring("a").episodes) == 4  # in pieces
    pq.write_table(table, file)
    with pytest.raises(DataError, match=r"would unpack to .*--unpack-limit"):
        bring("b")


def test_a_torn_video_leaves_out_its_episodes(tmp_path, robot):
    torn = changed(robot[0], "meta/info.json", lambda d: None, tmp_path / "t")
    (torn / f"videos/{VIDEO}/chunk-000/file-001.mp4").write_bytes(b"no video")
    demos = ic.import_demos("lerobot", str(torn), path=tmp_path / "a", bins=4)
    assert len(demos.episodes) == 2
    assert demos.imported["left_out"] == 2
    assert "is no video that can be read" in demos.imported["why"][0][1]
