import dataclasses
import json
import os
import string
import subprocess
import sys
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


# What is read although it is odd, because nothing is lost.


def test_what_a_session_can_do_without_may_be_missing(tmp_path):
    path = tmp_path / "anna" / "monday.hdf5"
    write_session(path, make_session())
    for name in ("session_name", "user", "duration_mins", "prompts"):
        edit(path, lambda group, name=name: group.attrs.__delitem__(name))
    session, info = read_session(path), read_info(path)
    assert (session.name, session.user, session.prompts) == ("monday", "anna", ())
    assert session.duration_mins == pytest.approx(1 / 60)
    assert (info.name, info.user, info.is_user_known) == ("monday", "anna", False)
    (note,) = session.remarks()
    assert "lacks session_name (read as 'monday'), user (read as 'anna'), duration_mins" in note


@pytest.mark.parametrize(
    ("condition", "needed"), [("on_keyboard", "keystrokes"), ("on_table", "prompts")]
)
def test_the_ground_truth_must_be_there(path, condition, needed):
    edit(path, set_attribute("condition", condition))
    edit(path, lambda group: group.attrs.__delitem__(needed))
    with pytest.raises(SessionError, match=f"lacks the attributes {needed}"):
        read_session(path)


ODD_PROMPTS = [
    {"name": "p", "start": 1, "end": 2},
    {"name": "p", "start": 1, "end": 2, "payload": {"text": 7}},
    {"name": "p", "start": None, "payload": None},
    "not an object",
]


def test_odd_prompts_are_left_out_where_keys_are_the_truth(path):
    good = {"name": "p", "start": BEGIN, "end": BEGIN + 1, "payload": {"text": "hi"}}
    edit(path, set_attribute("prompts", json.dumps([*ODD_PROMPTS, good])))
    session = read_session(path)
    assert [prompt.text for prompt in session.prompts] == ["hi"]
    assert "4 prompts are left out, which are not needed: prompts[0].payload" in session.notes[0]
    edit(path, set_attribute("condition", "on_table"))
    with pytest.raises(SessionError, match=r"prompts\[0\].payload is 'missing'"):
        read_session(path)


def test_a_key_without_a_name_and_an_end_that_is_no_number_are_read(path):
    items = [
        {"key": "", "start": BEGIN, "end": BEGIN},
        {"key": "a", "start": BEGIN + 0.1, "end": float("nan")},
    ]
    edit(path, set_attribute("keystrokes", json.dumps(items)))
    session = read_session(path)
    assert session.keystrokes[1] == Keystroke("a", BEGIN + 0.1, BEGIN + 0.1)
    assert charset.decode(session.labels().label) == "a"


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_time_of_many_digits_is_no_traceback(path, digits):
    edit(path, set_attribute("keystrokes", f'[{{"key": "a", "start": 1{"0" * digits}}}]'))
    with pytest.raises(SessionError, match=r"digits: expected unix seconds"):
        read_session(path)


@pytest.mark.parametrize("kind", ["i2", "i4", "f8", "f2"])
def test_emg_may_be_counts_of_a_converter(path, kind):
    rows = np.zeros(2000, [("time", "f8"), ("emg_left", kind, (16,)), ("emg_right", kind, (16,))])
    rows["time"] = BEGIN + np.arange(2000) / 2000
    rows["emg_right"] = np.arange(2000)[:, None] % 100
    replace_timeseries(path, rows)
    emg = read_session(path).emg
    assert emg.dtype == np.float32
    np.testing.assert_array_equal(emg, np.stack([rows["emg_left"], rows["emg_right"]], axis=1))


@pytest.mark.parametrize(("begin", "usable"), [(0.0, True), (1000.0, True), (1.6e9, False)])
def test_float32_times_are_read_where_they_tell_samples_apart(path, begin, usable):
    rows = np.zeros(8000, [("time", "f4"), *((name, *BAND) for name in ROW.names[1:])])
    rows["time"] = begin + np.arange(8000) / 2000
    replace_timeseries(path, rows)
    if usable:
        assert read_session(path).rate == pytest.approx(2000, rel=1e-3)
        return
    with pytest.raises(SessionError, match="'time' is float32: unix seconds need float64, since"):
        read_session(path)


def test_one_enormous_artefact_is_refused_with_its_place(tmp_path):
    emg = make_session().emg.copy()
    emg[1500, 1, 3] = 1e25
    with pytest.raises(SessionError, match=r"emg_right is 1e\+25 at sample 1500 .*electrode 3"):
        write_session(tmp_path / "s.hdf5", make_session(emg=emg))


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
    assert remarks == (("1 gaps without samples, 10.0 s in all",) if name == "a pause" else ())


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
