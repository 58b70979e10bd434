"""Session files that are broken, odd or incomplete: refused with place and rule, or read."""

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers.sessions import BEGIN, change_rows, edit, make_session, replace_timeseries

from emgmodels import charset
from emgmodels.sessions import (
    Keystroke,
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
    (tmp_path / "link.hdf5").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.hdf5")
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["data"] = 1
    for name, message in {
        "absent.hdf5": "does not exist: expected a session file",
        ".": "is a folder",
        "text.hdf5": r"is not HDF5 \(7 bytes\)",
        "pipe.hdf5": "is no regular file",
        "link.hdf5": "is a link to nowhere, which does not exist",
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


def test_keystrokes_of_another_condition_are_not_dropped_without_a_word(path):
    edit(path, set_attribute("condition", "On_Keyboard"))
    (note,) = read_session(path).remarks()
    assert "its keystrokes are not learnt from, since its condition is 'On_Keyboard'" in note


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


@pytest.mark.parametrize("end", [float("nan"), None])
def test_a_key_without_a_name_and_an_end_that_is_no_number_are_read(path, end):
    items = [
        {"key": "", "start": BEGIN, "end": BEGIN},
        {"key": "a", "start": BEGIN + 0.1, "end": end},
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
