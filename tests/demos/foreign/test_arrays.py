"""Arrays in files, and episodes of a Python function."""

from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest
from foreign_play import cartpole, check_same, ends_of, steps

import isoclone as ic
from isoclone.base.errors import DataError, IsocloneError, SpecError

PLAY = cartpole()
ENDS = ends_of(PLAY)
LENGTHS = np.diff(ENDS, prepend=0)


def bring(place, out, **options):
    return ic.import_demos("arrays", str(place), path=out, options=options)


def write_npz(path, columns):
    np.savez_compressed(path, **columns)


def write_npy(path, columns):
    path.mkdir()
    for name, column in columns.items():
        np.save(path / f"{name}.npy", column)


def write_hdf5(path, columns):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, column in columns.items():
            file[name] = column


def write_zarr(path, columns):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(path), mode="w")
    for name, column in columns.items():
        group.create_array(name, data=column)


WRITERS = {"a.npz": write_npz, "npy": write_npy, "a.hdf5": write_hdf5, "a.zarr": write_zarr}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_demonstrations(tmp_path, name):
    WRITERS[name](tmp_path / name, steps(PLAY))
    demos = bring(tmp_path / name, tmp_path / "out")
    check_same(demos, PLAY)
    assert demos.fingerprint == ic.demos_from(PLAY, path=tmp_path / "direct").fingerprint
    ends = [info.end for info in demos.episodes]
    assert ends == ["terminated" if one.terminated else "truncated" for one in PLAY]


number = np.repeat(np.arange(len(PLAY)), LENGTHS)
flags = steps(PLAY)
WAYS = {
    "terminals and timeouts": {"terminals": flags["terminated"], "timeouts": flags["truncated"]},
    "dones": {"dones": flags["terminated"] | flags["truncated"]},
    "ends": {"episode_ends": ENDS},
    "starts": {"episode_starts": np.diff(number, prepend=-1) > 0},
    "numbers": {"episode": number},
}


@pytest.mark.parametrize("final", [False, True], ids=["T", "T+1"])
@pytest.mark.parametrize("way", WAYS)
def test_ends_are_told_in_several_ways(tmp_path, way, final):
    if final and way == "dones":
        pytest.skip("the same as terminals")
    columns = {k: v for k, v in steps(PLAY, final).items() if not k.endswith("ated")}
    renamed = {"obs": columns["observations"], "acts": columns["actions"][:, None]}
    np.savez(tmp_path / "a.npz", **renamed, **WAYS[way])
    demos = bring(tmp_path / "a.npz", tmp_path / "out")
    check_same(demos, PLAY)
    known = way == "terminals and timeouts"
    assert ("unknown" in {info.end for info in demos.episodes}) is not known
    assert demos.episodes[0].episode_return is None


def test_groups_and_files_of_single_episodes(tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "folder").mkdir()
    with h5py.File(tmp_path / "robot.hdf5", "w") as file:
        for k, one in enumerate(PLAY):
            group = file.create_group(f"data/demo_{k + 5}")  # 10 comes after 9
            group["obs/all"], group["actions"] = one.observations[:-1], one.actions
            row = {"observations": one.observations, "actions": one.actions}
            np.savez(tmp_path / "folder" / f"play{k + 5}.npz", **row)
    check_same(bring(tmp_path / "robot.hdf5", tmp_path / "a"), PLAY)
    check_same(bring(tmp_path / "folder", tmp_path / "b"), PLAY)


def test_robots_zarr(tmp_path):
    columns = steps(PLAY)
    named = {"data/state": columns["observations"], "data/action": columns["actions"]}
    write_zarr(tmp_path / "a.zarr", {**named, "meta/episode_ends": ENDS})
    check_same(bring(tmp_path / "a.zarr", tmp_path / "a", observations="state"), PLAY)


def test_steps_without_an_end_are_left_out_and_counted(tmp_path):
    columns = steps(PLAY)
    columns["truncated"][-1] = columns["terminated"][-1] = False
    np.savez(tmp_path / "a.npz", **columns)
    demos = bring(tmp_path / "a.npz", tmp_path / "out")
    check_same(demos, PLAY[:-1])
    assert f"the last {LENGTHS[-1]} steps have no end" in demos.imported["why"][0][1]


def without(name):
    return {k: v for k, v in steps(PLAY).items() if k != name}


WRONG = {
    "actions": (
        without("actions"),
        r"a.npz has no actions \(or acts, action\): it has obs",
    ),
    "observations": (without("observations"), "has no observations .*name it by --observations"),
    "ends": (
        {k: v for k, v in steps(PLAY).items() if not k.endswith("ated")},
        "does not tell where episodes end: give terminated",
    ),
    "lengths": ({**steps(PLAY), "observations": np.ones((7, 4))}, "7 observations, .* actions"),
    "short": (
        {**steps(PLAY), "actions": np.ones(5, int)},
        f"a.npz: {ENDS[-1]} observations, 5 actions: terminated has {ENDS[-1]} rows",
    ),
    "broken": ({**steps(PLAY), "episode_ends": ENDS - 0.3}, "episode_ends must be whole numbers"),
    "no number": ({**steps(PLAY), "episode": number * np.nan}, "episode has a number that is not"),
    "side by side": (
        {**steps(PLAY), "truncated": np.zeros((ENDS[-1], 2), bool)},
        r"truncated has shape \(\d+, 2\).*side by side one after another",
    ),
    "text": (
        {**steps(PLAY), "truncated": np.array(["True", "False"])[number % 2]},
        "a.npz: truncated holds <U5, not flags",
    ),
    "step types": (
        {**steps(PLAY), "dones": np.minimum(number, 1) * 2},
        "dones holds 2, and flags are 0 and 1",
    ),
    "flags that are missing": (
        {**steps(PLAY), "truncated": np.full(ENDS[-1], np.nan)},
        "truncated holds nan, and flags are 0 and 1",
    ),
    "rewards": ({**steps(PLAY), "rewards": np.ones(3)}, "3 rewards for"),
    "flags": ({**steps(PLAY), "truncated": np.ones(3, bool)}, "truncated has 3 rows"),
    "falling": ({**steps(PLAY), "episode_ends": ENDS[::-1]}, "episode_ends must rise"),
    "beyond": ({**steps(PLAY), "episode_ends": ENDS + 1}, "none beyond"),
    "apart": ({**steps(PLAY), "episode": number % 4}, "do not lie together"),
    "starts": ({**steps(PLAY), "episode_starts": number > 0}, "not set at the first step"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_missing_or_wrong_is_named(tmp_path, kind):
    columns, said = WRONG[kind]
    np.savez(tmp_path / "a.npz", **columns)
    with pytest.raises(DataError, match=said):
        bring(tmp_path / "a.npz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pickled_arrays_are_refused(tmp_path):
    class Boom:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    columns = {**steps(PLAY), "rewards": np.array([Boom()] * 3, object)}
    np.savez(tmp_path / "a.npz", **columns)
    with pytest.raises(DataError, match="holds Python objects, which are pickled"):
        bring(tmp_path / "a.npz", tmp_path / "out")
    (tmp_path / "npy").mkdir()
    (tmp_path / "npy" / "actions.npy").write_bytes(pickle.dumps(3))
    with pytest.raises(DataError, match="npy cannot be read"):
        bring(tmp_path / "npy", tmp_path / "out")


@pytest.mark.parametrize("name", [*WRITERS])
def test_an_episode_beyond_the_limit_is_refused_and_many_small_ones_are_not(
    tmp_path, name, monkeypatch
):
    monkeypatch.setenv("ISOCLONE_UNPACK_LIMIT", "400k")
    columns = {"observations": np.zeros((4000, 30), np.float32), "actions": np.arange(4000) % 2}
    many, one = np.arange(1000, 4001, 1000), np.array([3900, 4000])
    for kind, ends in (("many", many), ("one", one)):
        (tmp_path / kind).mkdir()
        WRITERS[name](tmp_path / kind / name, {**columns, "episode_ends": ends})
    if not name.endswith((".hdf5", ".zarr")):  # of these one chunk holds all
        demos = bring(tmp_path / "many" / name, tmp_path / "a")
        assert len(demos.episodes) == 4
    with pytest.raises(DataError, match=r"observations.* would unpack to .*--unpack-limit"):
        bring(tmp_path / "one" / name, tmp_path / "b")


def test_a_header_that_tells_of_more_than_the_file_holds_is_refused(tmp_path):
    names = {"observations": (1 << 16, 4000), "actions": (1 << 16,)}
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        for name, shape in names.items():
            with file.open(f"{name}.npy", "w") as member:
                told = {"descr": "<i8", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(member, told)
    with pytest.raises(DataError, match="ends too early for its shape"):
        bring(tmp_path / "a.npz", tmp_path / "out")


def test_places_that_hold_nothing(tmp_path):
    for place in ("nowhere.npz", "readme.txt", "empty"):
        (tmp_path / "readme.txt").write_text("x")
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(DataError, match=r"does not exist|is neither \.npz"):
            bring(tmp_path / place, tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "torn.npz", "w") as file:
        file.writestr("actions.npy", b"\x93NUMPY\x01\x00")
    with pytest.raises(IsocloneError):
        bring(tmp_path / "torn.npz", tmp_path / "out")


def test_a_python_function_yields_episodes(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from foreign_play import cartpole\n\ndef episodes():\n    yield from cartpole()\n"
    )
    check_same(bring(f"{file}:episodes", tmp_path / "out"), PLAY)
    with pytest.raises(SpecError, match="nothing"):
        bring(f"{file}:nothing", tmp_path / "out2")
    with pytest.raises(SpecError, match="there is no array 'wobble'"):
        bring(file, tmp_path / "out2", wobble="x")
