import dataclasses
import json
import os
import string
from pathlib import Path

import h5py
import numpy as np
import pytest
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

BEGIN = 1.6e9


def make_session(samples=2000, **changes):
    session = Session(
        name="s",
        user="u",
        condition="on_keyboard",
        duration_mins=samples / 120_000,
        time=BEGIN + np.arange(samples) / 2000,
        emg=np.random.default_rng(0).standard_normal((samples, 2, 16), dtype=np.float32),
        keystrokes=(
            Keystroke("Key.shift_l", BEGIN + 0.1, BEGIN + 0.3),
            Keystroke("A", BEGIN + 0.2, BEGIN + 0.25),
            Keystroke("Key.space", BEGIN + 0.4, BEGIN + 0.5),
        ),
        prompts=(
            Prompt("text_prompt", BEGIN, BEGIN + 0.5, "“Hi” you"),
            Prompt("pause", BEGIN + 0.5, BEGIN + 0.6, None),
            Prompt("text_prompt", BEGIN + 0.6, BEGIN + 0.9, "done⏎"),
        ),
    )
    return dataclasses.replace(session, **changes)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "s.hdf5"
    write_session(path, make_session())
    return path


def edit(path, change):
    """Apply ``change`` to the open group of a session file."""
    with h5py.File(path, "r+") as file:
        change(file["emg2qwerty"])


def replace_timeseries(path, rows):
    def change(group):
        del group["timeseries"]
        group["timeseries"] = rows

    edit(path, change)


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

    monkeypatch.setattr("emgmodels.writing.os.replace", fail)
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


def change_rows(field, sample, value):
    def change(group):
        rows = group["timeseries"][:]
        rows[field][sample] = value
        group["timeseries"][:] = rows

    return change


def set_attribute(name, value):
    return lambda group: group.attrs.__setitem__(name, value)


def rename(old, new):
    return lambda group: group.move(old, new)


BROKEN = {
    "no dataset": (rename("timeseries", "series"), r"no dataset 'timeseries'.*found: 'series'"),
    "nan in a band": (
        change_rows("emg_right", (1500, 3), np.nan),
        r"emg_right is nan at sample 1500 \(0.750 s\), electrode 3: EMG must be finite",
    ),
    "infinite band": (change_rows("emg_left", (0, 0), -np.inf), "emg_left is -inf at sample 0"),
    "time runs backwards": (
        change_rows("time", 700, BEGIN),
        r"time goes from 1600000000\.349500 to 1600000000\.000000 at sample 700: it must not",
    ),
    "time is nan": (change_rows("time", 5, np.nan), "to nan at sample 5"),
    "first time is nan": (change_rows("time", 0, np.nan), "time is nan at sample 0"),
    "last time is infinite": (change_rows("time", -1, np.inf), "to inf at sample 1999"),
    "1 kHz": (
        change_rows("time", slice(None), BEGIN + np.arange(2000) / 1000),
        r"sampling rate is 1000 Hz \(median step 1.000 ms\): expected 2000 Hz within 5%",
    ),
    "one time for all": (change_rows("time", slice(None), BEGIN), "sampling rate is unknown"),
    "no condition": (
        lambda group: group.attrs.__delitem__("condition"),
        r"lacks the attributes condition \(found: .*user.*\)",
    ),
    "broken JSON": (
        set_attribute("keystrokes", '[{"key": "a", '),
        "attribute 'keystrokes' is broken JSON: Expecting property name.* line 1 column 15",
    ),
    "JSON of another kind": (set_attribute("prompts", "{}"), "'prompts' is a JSON dict: expected"),
    "a key without a start": (
        set_attribute("keystrokes", '[{"key": "a", "start": 1, "end": 2}, {"key": "b"}]'),
        r"keystrokes\[1\].start is None: expected unix seconds",
    ),
    "a start that is text": (
        set_attribute("keystrokes", '[{"key": "a", "start": "1", "end": 2}]'),
        r"keystrokes\[0\].start is '1'",
    ),
    "an infinite end": (
        set_attribute("keystrokes", '[{"key": "a", "start": 1, "end": Infinity}]'),
        r"keystrokes\[0\].end is inf",
    ),
    "a key that is a number": (
        set_attribute("keystrokes", '[{"key": 1, "start": 1, "end": 2}]'),
        r"keystrokes\[0\].key is 1: expected pynput's name",
    ),
    "a key that is no object": (set_attribute("keystrokes", "[7]"), r"keystrokes\[0\] is 7"),
    "an attribute that is an array": (
        set_attribute("condition", np.arange(3)),
        "attribute 'condition' is int64 array: expected text",
    ),
    "an attribute in another encoding": (
        set_attribute("user", np.bytes_(b"\xff\xfe")),
        "attribute 'user' is not UTF-8",
    ),
    "minutes that are text": (set_attribute("duration_mins", "2"), "'duration_mins' is '2'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_session_is_refused_with_its_path_place_and_rule(path, case):
    change, message = BROKEN[case]
    edit(path, change)
    with pytest.raises(SessionError, match=message) as caught:
        read_session(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_sample_is_counted_from_the_start_of_the_session(tmp_path):
    path = tmp_path / "long.hdf5"
    write_session(path, make_session(20_001))
    edit(path, change_rows("emg_left", (18_000, 0), np.nan))
    with pytest.raises(SessionError, match=r"nan at sample 18000 \(9\.000 s\), electrode 0"):
        read_session(path)


BAND = ("f4", (16,))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([("time", "f8"), ("emg_left", *BAND)], "no field 'emg_right' .found: time, emg_left"),
        (
            [("time", "f8"), ("emg_left", "f4", (8,)), ("emg_right", *BAND)],
            r"'emg_left' is float32 of shape \(8,\): expected float32 of shape \(16,\)",
        ),
        (
            [("time", "i8"), ("emg_left", *BAND), ("emg_right", *BAND)],
            "'time' is int64 of shape",
        ),
        (
            [("time", "f4"), ("emg_left", *BAND), ("emg_right", *BAND)],
            "'time' is float32: unix seconds need float64",
        ),
    ],
)
def test_other_fields_are_refused(path, fields, message):
    replace_timeseries(path, np.zeros(100, dtype=fields))
    for read in (read_session, read_info):
        with pytest.raises(SessionError, match=message):
            read(path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((10, 32), np.float32), r"is float32 of shape \(10, 32\): expected one row a"),
        (np.zeros(0, ROW), "has 0 samples: a session needs at least 2"),
    ],
)
def test_other_datasets_are_refused(path, rows, message):
    replace_timeseries(path, rows)
    for read in (read_session, read_info):
        with pytest.raises(SessionError, match=message):
            read(path)


def test_files_of_other_kinds_are_refused(tmp_path):
    (tmp_path / "text.hdf5").write_text("no HDF5")
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["data"] = 1
    for name, message in {
        "absent.hdf5": "does not exist: expected a session file",
        ".": "is a folder",
        "text.hdf5": r"is not HDF5 \(7 bytes\)",
        "other.hdf5": r"has no group 'emg2qwerty' in '/' \(found: 'data'\)",
    }.items():
        for read in (read_session, read_info):
            with pytest.raises(SessionError, match=message):
                read(tmp_path / name)


def test_a_truncated_file_says_how_much_is_there(path):
    data = path.read_bytes()
    path.write_bytes(data[:100_000])
    with pytest.raises(SessionError, match=f"is truncated: 100000 of {len(data)} bytes"):
        read_session(path)


def test_a_damaged_block_is_named(path: Path):
    def compress(group):
        rows = group["timeseries"][:]
        del group["timeseries"]
        series = group.create_dataset("timeseries", data=rows, chunks=(500,), compression="gzip")
        damaged.append(series.id.get_chunk_info(2).byte_offset)

    damaged: list[int] = []
    edit(path, compress)
    with path.open("r+b") as file:
        file.seek(damaged[0])
        file.write(b"\xff" * 64)
    with pytest.raises(SessionError, match="is damaged in samples 0 to 1999, copy the file again"):
        read_session(path)


def test_a_damaged_directory_is_no_traceback(path):
    data = bytearray(path.read_bytes())
    at = data.index(b"HEAP")
    data[at : at + 4] = b"XXXX"
    path.write_bytes(data)
    with pytest.raises(SessionError, match="is damaged, copy the file again"):
        read_session(path)
