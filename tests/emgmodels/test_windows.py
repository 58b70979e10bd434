import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import START, make_session

from emgmodels.sessions import Keystroke, read_session, write_session
from emgmodels.windows import cache as cache_module
from emgmodels.windows.batches import batches, window_starts
from emgmodels.windows.cache import prepare
from emgmodels.windows.cut import Cut, usable_rotation
from emgmodels.windows.recording import frames_for_keys

ALL = tuple(range(16))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EMGSEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "recordings"


def converted(folder):
    return [path for path in folder.iterdir() if path.name != "sources"]


def test_a_recording_is_the_sessions_signal_electrode_by_electrode(session_paths):
    session = read_session(session_paths[0])
    (recording,) = prepare(session_paths[:1])
    assert recording.emg.shape == (2, 16, len(session.time))
    np.testing.assert_array_equal(recording.emg, session.emg.transpose(1, 2, 0))
    assert isinstance(recording.emg.base, np.memmap) or isinstance(recording.emg, np.memmap)
    assert recording.has_key_times
    assert len(recording.labels) == len(session.keystrokes)


def test_the_cache_follows_content_not_names(cache, tmp_path):
    first, copy = tmp_path / "a.hdf5", tmp_path / "b.hdf5"
    write_session(first, make_session(seconds=2))
    copy.write_bytes(first.read_bytes())
    prepare([first, copy])
    assert len(converted(cache)) == 1
    write_session(first, make_session(seconds=2, seed=5))
    (changed,) = prepare([first])
    assert len(converted(cache)) == 2
    np.testing.assert_array_equal(changed.emg[0, 0], read_session(first).emg[:, 0, 0])


def test_ctc_needs_a_frame_a_key_and_one_between_equal_keys(cache, tmp_path):
    paths = [tmp_path / f"{keys}.hdf5" for keys in ("a", "abcdefgh")]
    for path in paths:  # 16 keys in a window of 4 s
        write_session(path, make_session(seconds=9, keys=path.stem))
    alike, apart = prepare(paths)
    assert frames_for_keys([alike]) == 16 + 15
    assert 16 <= frames_for_keys([apart]) < 16 + 8
    assert frames_for_keys([alike, apart], share=0.5) == frames_for_keys([apart])


def test_a_second_opening_reads_no_session_file(cache, tmp_path, monkeypatch):
    path = tmp_path / "a.hdf5"
    write_session(path, make_session(seconds=2))
    prepare([path])
    monkeypatch.setattr(cache_module, "read_session", None)
    monkeypatch.setattr(cache_module.hashlib, "file_digest", None)
    assert prepare([path])[0].samples == 4000


def test_several_processes_prepare_the_same_file_at_once(cache, tmp_path):
    path = tmp_path / "a.hdf5"
    write_session(path, make_session(seconds=8))
    code = (
        "import sys; from pathlib import Path; from emgmodels.windows.cache import prepare;"
        "r, = prepare([Path(sys.argv[1])]); print(float(abs(r.emg).sum()))"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for _ in range(3)
    ]
    sums = {process.communicate()[0] for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(sums) == 1
    assert len(converted(cache)) == 1


def test_an_interrupted_conversion_leaves_nothing(cache, tmp_path, monkeypatch):
    path = tmp_path / "a.hdf5"
    write_session(path, make_session(seconds=2))

    def full(*_):
        raise OSError("No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(cache_module.np, "save", full)
        with pytest.raises(OSError, match="No space"):
            prepare([path])
    assert converted(cache) == []
    assert prepare([path])[0].samples == 4000


def test_a_key_between_two_windows_belongs_to_neither(cache, tmp_path):
    """Windows are closed at their first and last sample, as emg2qwerty cuts them."""
    session = make_session(seconds=4, keys="")
    step = 1 / 2000
    keys = (
        Keystroke("a", START + 2.0, START + 2.1),  # on the first sample of the second window
        Keystroke("b", START + 2.0 - step / 2, START + 2.1),  # after the last of the first
        Keystroke("c", START + 2.0 - step, START + 2.1),  # on the last of the first
    )
    path = tmp_path / "a.hdf5"
    write_session(path, type(session)(**{**vars(session), "keystrokes": keys}))
    (recording,) = prepare([path])
    spans = [recording.label_span(0, 4000), recording.label_span(4000, 8000)]
    labels = [recording.labels[low:high].tolist() for low, high in spans]
    assert labels == [[2], [0]]


def test_tiles_cover_without_overlap_and_random_ones_number_the_same(session_paths):
    recordings = prepare(session_paths[:2])
    plain = window_starts(recordings, 8000)
    assert plain[:, 1].tolist() == [*range(0, 48000, 8000)] * 2
    shuffled = window_starts(recordings, 8000, np.random.default_rng(0))
    assert len(shuffled) == len(plain)
    assert (shuffled[:, 1] >= 0).all()
    assert (shuffled[:, 1] <= 40000).all()
    assert not np.array_equal(np.sort(shuffled[:, 1]), np.sort(plain[:, 1]))


def test_a_session_shorter_than_a_window_has_none(cache, tmp_path):
    path = tmp_path / "a.hdf5"
    write_session(path, make_session(seconds=2))
    assert len(window_starts(prepare([path]), 8000)) == 0


def test_batches_hold_the_samples_and_keys_of_their_windows(session_paths):
    recordings = prepare(session_paths[:2])
    chosen = window_starts(recordings, 8000)
    cut = Cut(window=8000, before=1800, samples=10000, electrodes=(0, 4, 8, 12))
    found = list(batches(recordings, chosen, 5, cut))
    assert [len(batch.emg) for batch in found] == [5, 5, 2]
    emg = np.concatenate([batch.emg.numpy() for batch in found])
    for n, (index, start) in enumerate(chosen.tolist()):
        inside = max(0, 1800 - start)
        expected = recordings[index].emg[:, [0, 4, 8, 12], max(0, start - 1800) : start + 8200]
        np.testing.assert_array_equal(emg[n][..., inside : inside + expected.shape[-1]], expected)
        assert np.isfinite(emg[n]).all()
    batch = found[0]
    first = batch.label_samples[1, : batch.label_lengths[1]]
    assert first.tolist() == sorted(first.tolist())
    assert 0 <= first.min() <= first.max() < 8000
    assert len(recordings[0].labels) >= int(batch.label_lengths.sum()) > 0


def test_outside_a_recording_it_is_mirrored(session_paths):
    (recording,) = prepare(session_paths[:1])
    cut = Cut(window=8000, before=100, samples=8100, electrodes=ALL)
    emg = next(batches([recording], np.array([[0, 0]]), 1, cut)).emg.numpy()[0]
    np.testing.assert_array_equal(emg[..., :100], recording.emg[..., 100:0:-1])


def test_rotation_and_jitter_are_what_they_say(session_paths):
    (recording,) = prepare(session_paths[:1])
    cut = Cut(window=8000, before=0, samples=2000, electrodes=ALL, rotation=1, band_jitter=120)
    chosen = np.array([[0, 16000]] * 60)
    seen = set()
    for batch in batches([recording], chosen, 60, cut, np.random.default_rng(0)):
        for window in batch.emg.numpy():
            for band in range(2):
                source = recording.emg[band]
                match = [
                    (rotation, shift)
                    for rotation in (-1, 0, 1)
                    for shift in range(-60, 61)
                    if window[band, 0, 0] == source[-rotation % 16, 16000 + shift]
                    and np.array_equal(
                        window[band],
                        np.roll(source, rotation, axis=0)[:, 16000 + shift : 18000 + shift],
                    )
                ]
                assert len(match) == 1
                seen.add((band, match[0][0]))
    assert len(seen) == 6


def test_few_electrodes_cannot_be_rotated_within_reach():
    assert usable_rotation(16, 1) == 1
    assert usable_rotation(8, 1) == 0
    assert usable_rotation(8, 2) == 1
    assert usable_rotation(4, 1) == 0


def test_one_wrist_alone(session_paths):
    (recording,) = prepare(session_paths[:1])
    cut = Cut(window=2000, before=0, samples=2000, electrodes=(0, 8), bands=(1,))
    emg = next(batches([recording], np.array([[0, 4000]]), 1, cut)).emg.numpy()
    np.testing.assert_array_equal(emg[0], recording.emg[1:, [0, 8], 4000:6000])


def test_random_crops_keep_signal_and_keys_together(session_paths):
    (recording,) = prepare(session_paths[:1])
    chosen = np.array([[0, 8000]] * 8)
    cut = Cut(8000, 100, 8300, ALL, crops=10, step=400)
    lengths = set()
    for batch in batches([recording], chosen, 2, cut, np.random.default_rng(0)):
        samples = batch.emg.shape[-1]
        assert (8300 - samples) % 400 == 0
        window = 8000 - (8300 - samples)
        lengths.add(window)
        for n, emg in enumerate(batch.emg.numpy()):
            starts = range(8000, 16000 - window + 1)
            (start,) = (s for s in starts if recording.emg[0, 0, s - 100] == emg[0, 0, 0])
            np.testing.assert_array_equal(
                emg, recording.emg[..., start - 100 : start - 100 + samples]
            )
            low, high = recording.label_span(start, start + window)
            labels = batch.labels[n, : batch.label_lengths[n]].tolist()
            assert labels == recording.labels[low:high].tolist()
    assert len(lengths) > 1
    assert min(lengths) >= 4000
