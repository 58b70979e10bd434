import dataclasses
import json
import os
import string
import subprocess
import sys

import h5py
import numpy as np
import pytest
from helpers.sessions import BEGIN, change_rows, edit, make_session
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emgmodels import charset
from emgmodels.sessions import (
    Keystroke,
    Prompt,
    Session,
    SessionError,
    read_info,
    read_session,
    write_session,
)
from emgmodels.sessions.files import ROW


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "s.hdf5"
    write_session(path, make_session())
    return path


def assert_same(left, right):
    for field in dataclasses.fields(Session):
        a, b = getattr(left, field.name), getattr(right, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b


times = st.floats(0, 4e9, allow_nan=False)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])), min_size=3, max_size=3),
    keystrokes=st.lists(st.builds(Keystroke, st.text(min_size=1), times, times)),
    prompts=st.lists(st.builds(Prompt, st.text(), times, times, st.none() | st.text())),
    samples=st.integers(2, 300),
)
def test_a_session_reads_back(tmp_path, text, keystrokes, prompts, samples):
    session = make_session(
        samples,
        name=text[0],
        user=text[1],
        condition=text[2],
        keystrokes=tuple(sorted(keystrokes, key=lambda keystroke: keystroke.start)),
        prompts=tuple(sorted(prompts, key=lambda prompt: prompt.start)),
    )
    write_session(tmp_path / "any.hdf5", session)
    assert_same(read_session(tmp_path / "any.hdf5"), session)


def test_a_session_of_several_blocks_reads_back(tmp_path):
    session = make_session(20_001)
    write_session(tmp_path / "new" / "long.hdf5", session)
    assert_same(read_session(tmp_path / "new" / "long.hdf5"), session)
    assert os.listdir(tmp_path / "new") == ["long.hdf5"]


def test_the_layout_is_that_of_emg2qwerty(path):
    session = make_session()
    with h5py.File(path) as file:
        group = file["emg2qwerty"]
        rows = group["timeseries"][:]
        assert rows.dtype == [("time", "f8"), ("emg_left", "f4", 16), ("emg_right", "f4", 16)]
        np.testing.assert_array_equal(rows["time"], session.time)
        np.testing.assert_array_equal(rows["emg_left"], session.emg[:, 0])
        np.testing.assert_array_equal(rows["emg_right"], session.emg[:, 1])
        attributes = dict(group.attrs)
    assert json.loads(attributes.pop("keystrokes"))[1] == {
        "key": "A",
        "start": BEGIN + 0.2,
        "end": BEGIN + 0.25,
    }
    prompts = json.loads(attributes.pop("prompts"))
    assert [prompt["payload"] for prompt in prompts] == [
        {"text": "“Hi” you"},
        None,
        {"text": "done⏎"},
    ]
    assert attributes == {
        "session_name": "s",
        "user": "u",
        "condition": "on_keyboard",
        "duration_mins": 2000 / 120_000,
    }


def test_the_same_session_gives_the_same_bytes(tmp_path):
    for name in "ab":
        write_session(tmp_path / name, make_session())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with h5py.File(tmp_path / "a") as file:
        for name in ("emg2qwerty", "emg2qwerty/timeseries"):
            assert h5py.h5g.get_objinfo(file[name].id).mtime == 0  # no clock in the file


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path, monkeypatch):
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("emgmodels.atomic.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_session(path, make_session(user="other"))
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time": BEGIN + np.arange(10) / 2000}, r"time is \(10,\), emg \(2000, 2, 16\)"),
        ({"time": BEGIN - np.arange(2000) / 2000}, "must not decrease"),
        ({"emg": np.full((2000, 2, 16), np.nan, np.float32)}, "emg_left is nan at sample 0"),
        ({"duration_mins": float("nan")}, "'duration_mins' is nan"),
        ({"user": None}, "attribute 'user' is NoneType"),
        ({"keystrokes": (Keystroke("a", float("inf"), 0.0),)}, r"keystrokes\[0\].start is inf"),
        ({"keystrokes": (Keystroke("", 0.0, 0.0),)}, r"keystrokes\[0\].key is ''"),
    ],
)
def test_nothing_is_written_that_could_not_be_read(tmp_path, changes, message):
    with pytest.raises(SessionError, match=message):
        write_session(tmp_path / "s.hdf5", make_session(**changes))
    assert not os.listdir(tmp_path)


def test_info_agrees_with_the_session(path):
    info, session = read_info(path), read_session(path)
    assert (info.name, info.user, info.condition) == ("s", "u", "on_keyboard")
    assert (info.samples, info.keys, info.prompts, info.start) == (2000, 3, 3, BEGIN)
    assert info.duration == session.duration == pytest.approx(1.0)
    assert session.rate == pytest.approx(2000)


def test_info_does_not_read_the_samples(path):
    edit(path, change_rows("emg_right", (1000, 7), np.nan))
    assert read_info(path).samples == 2000
    with pytest.raises(SessionError, match="sample 1000"):
        read_session(path)


def test_info_refuses_times_that_make_no_duration(path):
    edit(path, change_rows("time", -1, BEGIN - 1))
    with pytest.raises(SessionError, match=r"time runs from 1600000000\.0 to 1599999999\.0"):
        read_info(path)


def test_keys_are_the_truth_on_a_keyboard():
    labels = make_session().labels()
    assert charset.decode(labels.label) == "A "
    np.testing.assert_array_equal(labels.start, [BEGIN + 0.2, BEGIN + 0.4])
    np.testing.assert_array_equal(labels.end, [BEGIN + 0.25, BEGIN + 0.5])
    assert labels.has_key_times


def test_prompts_are_the_truth_elsewhere_each_with_one_enter():
    labels = make_session(condition="on_table").labels()
    assert charset.decode(labels.label) == '"Hi" you⏎done⏎'
    np.testing.assert_array_equal(labels.start, [BEGIN] * 9 + [BEGIN + 0.6] * 5)
    np.testing.assert_array_equal(labels.end, [BEGIN + 0.5] * 9 + [BEGIN + 0.9] * 5)
    assert not labels.has_key_times


@pytest.mark.parametrize("condition", ["on_keyboard", "on_table"])
def test_a_session_without_truth_has_empty_labels(condition):
    labels = make_session(condition=condition, keystrokes=(), prompts=()).labels()
    assert (labels.label.dtype, labels.start.dtype, labels.end.dtype) == ("i8", "f8", "f8")
    assert labels.label.shape == labels.start.shape == labels.end.shape == (0,)


@given(st.lists(st.tuples(st.sampled_from(string.ascii_letters), times)))
def test_labels_are_in_order_of_time(keys):
    keystrokes = tuple(Keystroke(key, start, start) for key, start in keys)
    labels = make_session(2, keystrokes=keystrokes).labels()
    assert (np.diff(labels.start) >= 0).all()
    in_order = sorted(keystrokes, key=lambda keystroke: keystroke.start)
    assert charset.decode(labels.label) == "".join(keystroke.key for keystroke in in_order)


def test_keystrokes_out_of_order_are_sorted(path):
    items = [{"key": "b", "start": BEGIN + 1, "end": BEGIN + 2}, {"key": "a", "start": BEGIN}]
    edit(path, lambda group: group.attrs.__setitem__("keystrokes", json.dumps(items)))
    assert read_session(path).keystrokes == (
        Keystroke("a", BEGIN, BEGIN),
        Keystroke("b", BEGIN + 1, BEGIN + 2),
    )


def test_attributes_may_be_bytes_and_a_user_a_number(path):
    def change(group):
        group.attrs["session_name"] = np.bytes_("s")
        group.attrs["prompts"] = np.bytes_("[]")
        group.attrs["user"] = 89335547

    edit(path, change)
    session = read_session(path)
    assert (session.name, session.user, session.prompts) == ("s", "89335547", ())


@pytest.mark.parametrize(
    "storage",
    [{"chunks": (3000,), "compression": "gzip"}, {"chunks": (100,), "compression": "lzf"}],
)
def test_compressed_files_with_more_fields_read_the_same(tmp_path, storage):
    session = make_session(20_001)
    path = tmp_path / "s.hdf5"
    write_session(path, session)
    with h5py.File(path, "r+") as file:
        group = file["emg2qwerty"]
        rows = group["timeseries"][:]
        wide = np.zeros(
            len(rows),
            [("emg_right", ">f4", 16), ("extra", "i2"), ("time", "f8"), ("emg_left", "f4", 16)],
        )
        for name in rows.dtype.names:
            wide[name] = rows[name]
        del group["timeseries"]
        group.create_dataset("timeseries", data=wide, **storage)
    assert_same(read_session(path), session)


# The clock.


def clocked(samples, **changes):
    emg = np.zeros((samples, 2, 16), np.float32)
    return make_session(samples, emg=emg, **changes)


def clocks():
    rng, regular = np.random.default_rng(0), BEGIN + np.arange(60_000) / 2000
    lost = np.delete(regular, [i for k in range(0, 60_000, 200) for i in range(k, k + 20)])
    return {
        "packets of 20": np.repeat(regular[::20], 20),
        "packets of 500": np.repeat(regular[::500], 500),
        "jitter of 3 ms": np.sort(regular + rng.normal(0, 0.003, 60_000)),
        "a tenth is lost": lost,
        "a pause": np.delete(regular, slice(20_000, 40_000)),
        "4 % slow": BEGIN + np.arange(60_000) / 1920,
        "half a second": regular[:1000],
    }


@pytest.mark.parametrize("name", clocks())
def test_2_khz_on_average_is_read(tmp_path, name):
    time = clocks()[name]
    write_session(tmp_path / "s.hdf5", clocked(len(time), time=time))
    remarks = read_session(tmp_path / "s.hdf5").remarks()
    assert remarks == (("1 gap without samples, 10.0 s in all",) if name == "a pause" else ())


@pytest.mark.parametrize("rate", [1000, 1428, 1850, 2150, 4000])
@pytest.mark.parametrize("kind", ["regular", "packets", "jitter", "second half"])
def test_other_rates_are_refused_however_their_times_look(tmp_path, rate, kind):
    time = np.arange(60_000) / rate
    if kind == "packets":
        time = np.repeat(time[::20], 20)
    if kind == "jitter":
        time = np.sort(time + np.random.default_rng(0).normal(0, 0.003, len(time)))
    if kind == "second half":
        time = np.cumsum(np.repeat([1 / 2000, 1 / rate], 30_000))
    with pytest.raises(SessionError, match=r"sampling rate is \d+ Hz .*resample the recording"):
        write_session(tmp_path / "s.hdf5", clocked(len(time), time=BEGIN + time))


# Files that can't be opened, each with its own remedy.


def test_a_locked_file_says_so(path):
    with h5py.File(path, "r+"):
        code = f"from emgmodels.sessions import read_info; read_info({str(path)!r})"
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "is locked: another program has it open for writing" in told.stderr


def test_a_file_whose_writer_was_killed_says_so(path):
    code = (
        f"import h5py, os; file = h5py.File({str(path)!r}, 'w', libver='latest');"
        f"file['x'] = 1; file.flush(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    with pytest.raises(SessionError, match="was not closed by the program that wrote it"):
        read_info(path)


def test_a_compression_without_its_plugin_is_named(path):
    def change(group):
        del group["timeseries"]
        created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        created.set_chunk((100,))
        created.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
        space, kind = h5py.h5s.create_simple((200,)), h5py.h5t.py_create(ROW)
        h5py.h5d.create(group.id, b"timeseries", kind, space, created)

    edit(path, change)
    for read in (read_session, read_info):
        with pytest.raises(SessionError, match=r"filter 32015 .*hdf5plugin.*gzip"):
            read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "'git lfs pull'"),
        (b"", "is empty"),
    ],
)
def test_a_stand_in_for_a_session_is_told(path, content, message):
    path.write_bytes(content)
    with pytest.raises(SessionError, match=message):
        read_session(path)
