"""The cache of recordings: its limit, what is in use, what a killed conversion leaves."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import make_session
from typer.testing import CliRunner

from emgmodels.sessions import write_session
from emgmodels.windows import cache, home
from emgmodels.windows.__main__ import app
from emgmodels.windows.cache import prepare
from emgmodels.windows.conversion import META
from emgmodels.windows.looking import look


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Three session files of 2 s, half a megabyte each, and an empty cache."""
    monkeypatch.setenv("EMGSEARCH_CACHE", str(tmp_path / "cache"))
    paths = [tmp_path / f"{i}.hdf5" for i in range(3)]
    for i, path in enumerate(paths):
        write_session(path, make_session(seconds=2, seed=i, name=f"s{i}"))
    return paths


def names():
    return [entry.name for entry in cache.entries()]


def opened_long_ago(*days):
    for entry, ago in zip(sorted(cache.entries(), key=lambda e: e.name), days, strict=True):
        os.utime(entry.folder / "recording.json", (1e9 - ago, 1e9 - ago))


def test_beyond_the_limit_the_least_recently_opened_go(files, monkeypatch):
    prepare(files[:2])
    opened_long_ago(1, 2)
    monkeypatch.setenv("EMGSEARCH_CACHE_GB", str(1.2e-3))
    prepare(files[2:])
    assert names() == ["s0", "s2"]
    assert prepare(files[1:2])[0].samples == 4000


def test_what_is_in_use_stays_whatever_the_limit(files, monkeypatch):
    kept = prepare(files[:1])
    opened_long_ago(1)
    monkeypatch.setenv("EMGSEARCH_CACHE_GB", "0")
    more = prepare(files[1:])
    assert sorted(names()) == ["s0", "s1", "s2"]
    assert all(entry.in_use for entry in cache.entries())
    assert cache.clear() == 0
    del more
    assert cache.clear() > 0
    assert names() == ["s0"]
    assert float(kept[0].emg[0, 0, 5]) == float(prepare(files[:1])[0].emg[0, 0, 5])


def test_a_recording_of_another_process_is_in_use(files):
    code = (
        "import sys; from pathlib import Path; from emgmodels.windows.cache import prepare;"
        "kept = prepare([Path(sys.argv[1])]); print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(files[0])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert other.stdout.readline() == b"open\n"
        assert cache.clear() == 0
    finally:
        other.communicate()
    assert cache.clear() > 0


def test_a_killed_conversion_breaks_nothing_and_is_cleared_away(files):
    code = (
        "import sys, time; from pathlib import Path; from emgmodels.windows import cache\n"
        "def hang(*_): print('half', flush=True); time.sleep(60)\n"
        "cache.np.save = hang; cache.prepare([Path(sys.argv[1])])"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(files[0])],
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert other.stdout.readline() == b"half\n"
    prepare(files[1:2])
    assert len(list(cache.cache_folder().glob(".converting-*"))) == 1  # alive, so not touched
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert names() == ["s1"]
    assert prepare(files[:1])[0].samples == 4000
    assert not list(cache.cache_folder().glob(".converting-*"))


@pytest.mark.parametrize("piece", ["recording.json", "emg.npy", "labels.npy", "last.npy"])
@pytest.mark.parametrize("harm", [lambda path: path.write_bytes(b""), os.remove])
def test_a_damaged_recording_is_converted_anew(files, piece, harm):
    sample = float(prepare(files[:1])[0].emg[0, 0, 5])
    harm(cache.entries()[0].folder / piece)
    (recording,) = prepare(files[:1])
    assert float(recording.emg[0, 0, 5]) == sample
    assert names() == ["s0"]


@pytest.fixture
def nfs(monkeypatch):
    """Lock files as NFS does: alone only those that are open for writing."""
    import fcntl

    lock = fcntl.flock

    def strict(file, how):
        if how & fcntl.LOCK_EX and not file.writable():
            raise OSError(9, "Bad file descriptor")
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", strict)


def test_the_cache_lies_on_nfs_as_well(files, nfs):
    kept = prepare(files[:2])
    assert all(entry.in_use for entry in cache.entries())
    del kept
    assert cache.clear() > 0


def test_without_locks_nothing_is_evicted(files, monkeypatch):
    import fcntl

    def refuse(file, how):
        raise OSError(95, "Operation not supported")

    prepare(files[:1])
    monkeypatch.setattr(fcntl, "flock", refuse)
    assert prepare(files[:1])[0].samples == 4000
    assert cache.clear() == 0
    assert names() == ["s0"]


def test_what_was_fetched_is_listed_and_cleared_too(files):
    kept = prepare(files[:1])
    path = home.fetched_folder() / "data/s3-bucket/s.hdf5"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(20_000_000))
    home.note_fetched(path, path.stat())
    run = CliRunner().invoke
    assert "0.02 GB of session files" in run(app, ["list"], env={"COLUMNS": "300"}).output
    cache.clear()
    assert path.exists(), "something is in use"
    del kept
    assert cache.clear() > 20_000_000
    assert not home.fetched_folder().exists()


def test_a_path_of_the_cache_is_the_same_in_every_folder(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for text in ("./here", "~/here"):
        monkeypatch.setenv("EMGSEARCH_CACHE", text)
        prepare(files[:1])
        command = "import os; print(os.environ['EMGSEARCH_CACHE'])"
        found = subprocess.check_output([sys.executable, "-c", command], cwd="/", text=True)
        assert found.strip() == str(tmp_path / "here")
    monkeypatch.setenv("HF_HOME", "models")
    home.settle_paths()
    assert os.environ["HF_HOME"] == str(tmp_path / "models")


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_variable_is_refused(files, monkeypatch, text):
    monkeypatch.setenv("EMGSEARCH_CACHE", text)
    for command in (["clear"], ["list"], ["prepare", str(files[0].parent)]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 2
        assert "EMGSEARCH_CACHE is empty" in done.output


def test_a_cache_that_cannot_be_made_names_its_variable(files, tmp_path, monkeypatch):
    monkeypatch.setenv("EMGSEARCH_CACHE", str(files[0]))
    with pytest.raises(ValueError, match="set EMGSEARCH_CACHE to a folder"):
        prepare(files)
    monkeypatch.setenv("EMGSEARCH_CACHE", "/proc/emgsearch")
    with pytest.raises(ValueError, match=r"/proc/emgsearch.*EMGSEARCH_CACHE"):
        prepare(files)


def test_a_full_disk_of_the_cache_names_its_variable_and_leaves_nothing(files, tmp_path):
    """The limit of a file's size stands for the disk's; pages without room would kill it."""
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from emgmodels.windows.cache import prepare\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "prepare([Path(sys.argv[1])])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(files[0])], capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert "has no room" in found.stderr
    assert "EMGSEARCH_CACHE" in found.stderr
    assert not list(cache.cache_folder().glob("*/emg.npy"))


def test_the_commands_prepare_list_and_clear(files):
    run = CliRunner().invoke
    done = run(app, ["prepare", str(files[0].parent)])
    assert done.exit_code == 0, done.output
    listed = run(app, ["list"], env={"COLUMNS": "300"})
    assert listed.exit_code == 0, listed.output
    assert all(text in listed.output for text in ("s0", "s1", "s2", str(files[2]), "100 GB"))
    assert "0.0 MB freed" not in run(app, ["clear"]).output
    assert "0 recordings" in run(app, ["list"]).output


def test_mistakes_are_named(files, monkeypatch):
    done = CliRunner().invoke(app, ["prepare", "/nowhere"])
    assert done.exit_code == 2
    assert "/nowhere" in done.output
    monkeypatch.setenv("EMGSEARCH_CACHE_GB", "much")
    with pytest.raises(ValueError, match="EMGSEARCH_CACHE_GB=much"):
        prepare(files)
    assert CliRunner().invoke(app, ["list"]).exit_code == 2


def test_a_look_finds_what_preparing_finds_and_writes_nothing(session_paths, tmp_path, monkeypatch):
    monkeypatch.setenv("EMGSEARCH_CACHE", str(tmp_path / "cache"))
    seen = []
    looked = look(session_paths, seen.append)
    assert seen == session_paths
    assert not (tmp_path / "cache").exists()
    prepared = prepare(session_paths)
    for own, other in zip(looked, prepared, strict=True):
        for name in ("name", "samples", "has_key_times", "remarks", "key_lag"):
            assert getattr(own, name) == getattr(other, name)
        for name in ("labels", "first", "last", "prompts"):
            assert np.array_equal(getattr(own, name), getattr(other, name))
        assert own.emg.shape == other.emg.shape
    for known, other in zip(look(session_paths), prepared, strict=True):
        assert np.array_equal(known.emg, other.emg)


def test_the_list_shows_odd_names_and_what_is_damaged(tmp_path, monkeypatch):
    """The least recently opened first, brackets as they are, one that cannot be read among them."""
    monkeypatch.setenv("EMGSEARCH_CACHE", str(tmp_path / "[cache]"))
    monkeypatch.setenv("COLUMNS", "300")
    names = ("[red]odd", "b c", "Läufe", "broken")
    for seed, name in enumerate(names):
        path = tmp_path / "[data]" / f"{name}.hdf5"
        write_session(path, make_session(seconds=6, seed=seed, name=name))
        prepare([path])
    for age, entry in enumerate(cache.entries()):
        os.utime(entry.folder / META, (1e9 + age, 1e9 + age))
    [broken] = [entry.folder for entry in cache.entries() if entry.name == "broken"]
    (broken / META).write_text("[1]")
    (broken.parent / "0123").mkdir()
    shown = CliRunner().invoke(app, ["list"])
    assert shown.exit_code == 0, shown.output
    at = [shown.stdout.index(each) for each in ("(damaged)", *names[:3])]
    assert at[0] < min(at[1:])
    assert f"{tmp_path}/[data]/[red]odd.hdf5" in shown.stdout
    assert f"in {tmp_path}/[cache]/recordings" in shown.stdout
    assert "4 recordings" in shown.stdout
