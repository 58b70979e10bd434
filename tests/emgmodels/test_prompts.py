"""Sessions without key times count prompt by prompt, and keys outside the EMG are noticed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import START, make_session
from helpers.prompts import MODEL, SPANS, PerfectReader, marked, opened, prompted, small

from emgmodels.charset import decode, encode
from emgmodels.checkpoints.loading import load
from emgmodels.config import TrainingConfig
from emgmodels.ctc import ctc_loss, greedy_decode
from emgmodels.factory import build
from emgmodels.metrics import EditCounts
from emgmodels.network.memory_estimate import training_bytes
from emgmodels.notation import parse_notation
from emgmodels.reading.sessions import ONE_PASS, STITCHED, WINDOWS, emit
from emgmodels.sessions import Keystroke, Prompt, Split
from emgmodels.training.feed import Feed
from emgmodels.training.fit import fit
from emgmodels.windows.batches import prompt_batch, window_starts
from emgmodels.windows.cache import open_split
from emgmodels.windows.cut import cut_for
from emgmodels.windows.device import DeviceRecordings
from emgmodels.windows.prompts import prompt_groups, prompt_windows, with_shifts
from emgmodels.windows.recording import check_recordings, check_times, frames_for_keys

__all__ = ["opened"]  # the fixture


def test_a_prompt_is_a_window_with_all_of_its_text_and_no_other(opened):
    session = prompted(SPANS)
    (recording,) = opened(session)
    assert len(window_starts([recording], 8000)) == 0, "nobody knows what was typed in 4 s"
    windows = prompt_windows([recording])
    assert (windows[:, 1:3] / 2000).tolist() == pytest.approx(np.array(SPANS), abs=1e-3)
    _, cut = cut_for(build(parse_notation(MODEL)), TrainingConfig(), int(6.5 * 2000) + 1)
    batch = prompt_batch([recording], windows, cut)
    typed = [
        decode(labels[:length].tolist())
        for labels, length in zip(batch.labels, batch.label_lengths, strict=True)
    ]
    assert typed == [prompt.text + "⏎" for prompt in session.prompts]
    assert (batch.label_samples == -1).all()
    assert torch.equal(batch.emg[1, ..., cut.before], torch.from_numpy(session.emg[16000]))


@pytest.mark.parametrize(
    ("spans", "kept"),
    [
        ([(1, 5), (4, 9)], [(1, 4), (4, 9)]),  # it ends where the next begins
        ([(1, 1), (4, 9)], [(1, 4), (4, 9)]),  # its end is missing
        ([(1, 5), (20, 20)], [(1, 5), (20, 24)]),
        ([(1, 5), (1, 7)], [(1, 7)]),  # two that are shown together are one
        ([(-0.3, 5), (6, 24.3)], [(0, 5), (6, 24)]),  # nobody types before reading
        ([(-3, 5), (6, 27), (30, 31)], []),
        ([(8, 12), (1, 5)], [(1, 5), (8, 12)]),
    ],
)
def test_where_a_prompt_begins_and_ends(opened, spans, kept):
    session = replace(
        make_session(on_keyboard=False),
        prompts=tuple(Prompt("p", START + low, START + high, "ab") for low, high in spans),
    )
    (recording,) = opened(session)
    assert recording.prompts.shape == (len(kept), 4)
    for row, span in zip(recording.prompts[:, :2] / 2000, kept, strict=True):
        assert row == pytest.approx(span, abs=1e-3)


@pytest.mark.parametrize("prompts", [(), (Prompt("p", START + 1, START + 5, None),)])
def test_sessions_without_keys_and_texts_are_not_called_too_short(opened, prompts):
    session = replace(make_session(on_keyboard=False), prompts=prompts)
    with pytest.raises(ValueError, match="training sessions hold no keys that the model knows"):
        check_recordings(opened(session), "training", 4.0)


def test_groups_hold_as_much_emg_as_a_batch_and_every_prompt_once():
    rng = np.random.default_rng(0)
    lengths = rng.integers(2000, 40_000, 50)
    prompts = np.stack([np.zeros(50, int), np.arange(50), np.arange(50) + lengths] * 1, axis=1)
    for seed in (None, 1, 2):
        order = None if seed is None else np.random.default_rng(seed)
        groups = prompt_groups(prompts, 64_000, order)
        assert sorted(np.concatenate(groups)[:, 1].tolist()) == list(range(50))
        for group in groups:
            longest = (group[:, 2] - group[:, 1]).max()
            assert longest * len(group) <= 64_000
    assert [len(group) for group in prompt_groups(prompts[:3], 100)] == [1, 1, 1]


def test_frames_beyond_a_prompts_end_count_for_nothing(opened):
    recordings = opened(prompted(SPANS))
    config = small("gru:1(hidden=24) conv1d:1(channels=16,kernel=3,stride=2) hop:64 mlp:16")
    model = build(config.model).eval()
    feed = Feed(model, config, torch.device("cpu"))
    batch = prompt_batch(
        recordings, prompt_windows(recordings), cut_for(model, config.training, 13001)[1]
    )
    framing, frames = feed.framing_of(batch)
    log_probs = model(model.spectrogram(batch.emg))[:, framing.first :][:, : framing.frames]
    assert frames.max() == framing.frames
    log_probs = log_probs.detach()
    loss = ctc_loss(log_probs, batch.labels, batch.label_lengths, frames)
    each = [
        ctc_loss(log_probs[n : n + 1, : frames[n]], batch.labels[n : n + 1], lengths)
        for n, lengths in enumerate(batch.label_lengths.split(1))
    ]
    assert float(loss) == pytest.approx(float(torch.stack(each).mean()), rel=1e-5)


def test_prompts_alone_are_trained_on(opened):
    spans = [(start, start + 2.9) for start in range(0, 15, 3)]
    train = opened(*(prompted(spans, seed=seed) for seed in range(1)))
    config = small(epochs=4, learning_rate=1e-2, augmentation={"time_masks": 0, "rotation": 0})
    first, *_, result = fit(config, train, train[:1])
    assert result.val_loss < 0.5 * first.val_loss
    assert len(result.best_windows) == len(spans)
    texts = [decode(encode(prompt.text)) + "⏎" for prompt in prompted(spans).prompts]
    assert [typed for typed, _ in result.readings] == texts


def test_keys_and_prompts_train_together_and_resume_the_same(opened, tmp_path):
    recordings = opened(make_session(), prompted(SPANS), prompted(SPANS, seed=1))
    config = small(epochs=3, aligned_start={"epochs": 2})
    whole = []
    for result in fit(config, recordings[:2], recordings):
        whole.append(result)
        if result.epoch == 1:
            result.save(tmp_path / "c.pt")
    rest = list(fit(config, recordings[:2], recordings, resume=tmp_path / "c.pt"))
    assert [r.train_loss for r in rest] == [r.train_loss for r in whole[1:]]
    assert [r.val_cer for r in rest] == [r.val_cer for r in whole[1:]]
    assert len(whole[0].readings) == 6 + 2 * len(SPANS)
    assert whole[0].learning_rate > whole[-1].learning_rate >= 0


def test_a_prompt_that_a_model_cannot_take_is_not_trained_on_but_scored(opened, language_models):
    text = f"pretrained:2(name={language_models['GPT2']}) hop:64 mlp:16"
    config = small(text, epochs=1)
    longest = build(config.model).longest * 64 / 2000
    spans = [(0.0, 4.0), (5.0, 5.0 + longest + 2)]
    recordings = opened(prompted(spans, seconds=longest + 10))
    feed = Feed(build(config.model), config, torch.device("cpu"))
    assert len(feed.prompts(recordings)) == 1
    (result,) = fit(config, recordings, recordings)
    assert len(result.readings) == 2
    long = opened(prompted(spans[1:], seconds=longest + 10))
    with pytest.raises(ValueError, match="takes none of the training prompts"):
        next(fit(config, long, recordings))


def test_sessions_say_how_they_count_and_what_is_left_out(opened, tmp_path):
    long = [(0.0, 65.0), (66.0, 69.0)]
    opened(make_session(), prompted(SPANS), prompted(long, seconds=70.0))
    paths = sorted(tmp_path.glob("*.hdf5"))
    train, val, notes = open_split(Split("anna", tuple(paths), (paths[1],), (), "here"))
    assert [len(train), len(val)] == [3, 1]
    assert any("2 of 3 training sessions have no key times" in note for note in notes)
    assert any("5 in all" in note for note in notes)
    assert any("1 prompt of training sessions takes more than 64 s" in note for note in notes)


@pytest.mark.parametrize("way", [STITCHED, ONE_PASS, WINDOWS])
def test_a_perfect_reader_of_prompts_has_no_errors(opened, way):
    """Whatever way a session is read: what is held against it is what was typed, and when."""
    session = marked(SPANS)
    (recording,) = opened(session)
    model = PerfectReader(parse_notation(MODEL)).eval()
    found = emit(model, recording, TrainingConfig(), way).read()
    typed = [prompt.text + "\u23ce" for prompt in session.prompts]
    assert decode(found.predicted) == decode(found.target) == "".join(typed)
    assert [chunk.target for chunk in found.chunks] == [len(text) for text in typed]
    assert [chunk.edits for chunk in found.chunks] == [0] * len(typed)


def test_what_is_read_in_validation_is_what_evaluation_reads(opened, tmp_path):
    """Text by text, of sessions with key times and without, by the weights that were kept."""
    *train, keyed, untimed = opened(
        make_session(), make_session(seed=1), make_session(seed=2), prompted(SPANS, seed=3)
    )
    recordings = [untimed, keyed]
    config = small(epochs=5, learning_rate=2e-2, aligned_start={"epochs": 5})
    found = fit_and_save(config, train, recordings, tmp_path)
    best = min(found, key=lambda result: result.val_cer)
    model = load(tmp_path / f"{best.epoch}.pt").model
    readings, edits = [], EditCounts()
    for recording in recordings:
        found = emit(model, recording, config.training, WINDOWS)
        for log_probs, target in zip(found.log_probs, found.window_targets, strict=True):
            readings.append((decode(target), decode(greedy_decode(log_probs[None])[0])))
        edits += found.read().edits
    assert len(readings) == len(SPANS) + 6
    assert sorted(readings) == sorted(best.readings)
    assert any(read for _, read in readings), "an untrained model reads nothing"
    assert edits.cer == pytest.approx(best.val_cer)


def fit_and_save(config, train, val, folder):
    for result in fit(config, train, val):
        result.save(folder / f"{result.epoch}.pt")
        yield result


def test_on_a_device_prompts_are_cut_the_same(opened):
    recordings = opened(prompted(SPANS), make_session())
    model = build(parse_notation(MODEL))
    _, cut = cut_for(model, TrainingConfig(), 13001)
    windows = prompt_windows(recordings)
    loaded = DeviceRecordings(recordings, torch.device("cpu"), torch.float32)
    cut = replace(cut, rotation=1, band_jitter=100)
    copied, gathered = (
        prompt_batch(recordings, windows, cut, np.random.default_rng(3), device)
        for device in (None, loaded)
    )
    assert torch.equal(copied.emg, gathered.emg)


def test_a_prompts_frames_and_memory_are_counted(opened):
    (dense,) = opened(prompted([(0.0, 16.0)]))
    keys = len(dense.labels)
    assert keys / 4 <= frames_for_keys([dense]) < keys / 4 * 2
    config = small(batch_size=2)
    assert training_bytes(config, 3.0) == training_bytes(config)
    assert training_bytes(config, 32.0) > 2 * training_bytes(config)


@pytest.mark.parametrize("on_keyboard", [True, False])
@pytest.mark.parametrize("hour", [3600.0, -3600.0])
def test_keys_outside_the_recording_are_refused_by_file(opened, tmp_path, on_keyboard, hour):
    session = make_session(on_keyboard=on_keyboard)
    moved = replace(
        session,
        keystrokes=tuple(
            Keystroke(k.key, k.start + hour, k.end + hour) for k in session.keystrokes
        ),
        prompts=tuple(replace(p, start=p.start + hour, end=p.end + hour) for p in session.prompts),
    )
    opened(session, moved)
    good, bad = sorted(tmp_path.glob("*.hdf5"))
    for train, val in (((good,), (bad,)), ((bad,), (good,)), ((good, bad), (good,))):
        with pytest.raises(ValueError, match=f"{bad.name}: none of its .* lies inside its EMG"):
            open_split(Split("anna", train, val, (), "here"))


def test_some_keys_outside_are_said_and_few_are_not(opened, tmp_path):
    session = make_session()
    count = len(session.keystrokes)
    for outside, said in ((count // 2, True), (2, False)):
        keys = tuple(
            replace(k, start=k.start + 100, end=k.end + 100) if n >= count - outside else k
            for n, k in enumerate(session.keystrokes)
        )
        (recording,) = opened(replace(session, keystrokes=keys))
        notes = check_times(recording, Path("here.hdf5"))
        assert bool(notes) is said
        assert all(f"here.hdf5: {outside} of its {count} keys" in note for note in notes)


def test_keys_in_no_window_are_no_validation(opened):
    """Five seconds have one window of 4 s; what is typed after it would give no CER."""
    session = make_session(seconds=5)
    late = replace(
        session, keystrokes=tuple(k for k in session.keystrokes if k.start > START + 4.2)
    )
    good, bad = opened(make_session(), late)
    with pytest.raises(
        ValueError, match=r"none of the .* validation sessions lies inside a window"
    ):
        next(fit(small(), [good], [bad]))


def test_prompts_are_trained_with_the_shifts_that_keyboards_record(opened):
    """A shift before each key that needs one, as the same text's keys have it."""
    keys = ("Key.shift", "T", "h", "e", "Key.shift", "?")
    times = START + 1 + np.arange(len(keys)) / 4
    pressed = tuple(Keystroke(key, at, at) for key, at in zip(keys, times, strict=True))
    keyed = replace(make_session(), name="keyed", keystrokes=pressed)
    prompts = tuple(Prompt("text", START + at, START + at + 2, "The?") for at in (1.0, 4.0))
    text = replace(keyed, condition="on_table", keystrokes=(), prompts=prompts)
    one, two = opened(keyed, text)
    same, shifted = with_shifts((one, two))
    assert same is one
    assert decode(one.labels) == "⇧The⇧?"
    assert decode(two.labels) == "The?⏎The?⏎"
    spans = shifted.prompts[:, 2:].tolist()
    assert [decode(shifted.labels[slice(*span)]) for span in spans] == ["⇧The⇧?⏎"] * 2
    assert len(shifted.first) == len(shifted.last) == len(shifted.labels)
    assert with_shifts((one, two)) is with_shifts((one, two)), "or a GPU would load them anew"
    assert with_shifts((two,)) == (two,), "nobody recorded a shift"
