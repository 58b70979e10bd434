"""Beam search against a plain one, and against all alignments added up."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.beam_search import noise
from benchmarks.plain_beam import PlainLanguage, plain_beam_search
from emgmodels.charset import BLANK, NUM_CLASSES, encode, label_of
from emgmodels.checkpoints.loading import load
from emgmodels.config import Config
from emgmodels.ctc import BeamSearch, beam_decode, greedy_decode
from emgmodels.ctc import trie as trie_module
from emgmodels.ctc.beam import BONUS
from emgmodels.language import LanguageModel, typed_lines, write_arpa
from emgmodels.notation import parse_notation
from emgmodels.reading.sessions import stitched_emissions
from emgmodels.synthetic.text import sentence
from emgmodels.training.fit import fit
from emgmodels.windows.cache import prepare

A, B, BACKSPACE, SHIFT, ENTER = (
    label_of(key) for key in ("a", "b", "Key.backspace", "Key.shift", "Key.enter")
)


@pytest.fixture(scope="module")
def arpa(kenlm, tmp_path_factory):
    """A 4-gram of synthetic sentences, with shift in its vocabulary, and one without."""
    folder = tmp_path_factory.mktemp("arpa")
    rng = np.random.default_rng(3)
    texts = [sentence(rng) for _ in range(60)]
    for name, shifts in (("shifts", True), ("plain", False)):
        write_arpa(typed_lines(texts, shifts=shifts), 4, folder / f"{name}.arpa")
    return folder


def emissions_of(path, likely=0.9):
    """Return (T, 99) log-probabilities with most of the mass on the given classes."""
    probs = np.full((len(path), NUM_CLASSES), (1 - likely) / (NUM_CLASSES - 1))
    probs[np.arange(len(path)), path] = likely
    return np.log(probs)


def collapse(path):
    return tuple(k for k, _ in itertools.groupby(path) if k != BLANK)


def test_a_wide_beam_finds_the_sequence_whose_alignments_add_up_to_most():
    rng = np.random.default_rng(4)
    classes = [A, B, BLANK]
    differs = 0
    for _ in range(30):
        log_probs = np.full((5, NUM_CLASSES), -np.inf)
        log_probs[:, classes] = np.log(rng.dirichlet([1, 1, 1], size=5))
        mass: dict[tuple, float] = {}
        for path in itertools.product(classes, repeat=5):
            p = math.exp(sum(log_probs[t, k] for t, k in enumerate(path)))
            mass[collapse(path)] = mass.get(collapse(path), 0.0) + p
        best = list(max(mass, key=mass.__getitem__))
        assert BeamSearch(width=200).decode(log_probs) == best
        differs += greedy_decode(torch.from_numpy(log_probs)[None])[0] != best
    assert differs


@pytest.mark.parametrize("language", [None, "shifts", "plain"])
@given(
    seed=st.integers(0, 2**32 - 1),
    frames=st.integers(0, 25),
    width=st.integers(1, 12),
    labels=st.integers(1, 99),
    sharpness=st.floats(0.5, 8),
    weight=st.floats(0, 3.5),
    bonus=st.floats(-1, 2),
)
@settings(deadline=None, max_examples=40)
def test_the_text_is_that_of_a_plain_search(
    arpa, language, seed, frames, width, labels, sharpness, weight, bonus
):
    """Keys are few and backspaces, shifts and enters many, so that texts meet again."""
    rng = np.random.default_rng(seed)
    scores = sharpness * rng.normal(size=(frames, NUM_CLASSES))
    scores[:, [A, B, BACKSPACE, SHIFT, ENTER, BLANK]] += sharpness
    log_probs = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    model = plain = None
    if language:
        model = LanguageModel(arpa / f"{language}.arpa")
        plain = PlainLanguage(arpa / f"{language}.arpa", weight, bonus)
    search = BeamSearch(width, labels, model, weight, bonus)
    assert search.decode(log_probs) == plain_beam_search(log_probs, width, labels, plain)


def test_the_text_of_a_trained_model_is_that_of_a_plain_search(arpa, session_paths, tmp_path):
    training = {"epochs": 3, "batch_size": 4, "learning_rate": 1e-2, "warmup_steps": 4}
    config = Config.model_validate({"training": {**training, "aligned_start": {"epochs": 3}}})
    config = config.model_copy(update={"model": parse_notation("gru:1(hidden=16) hop:64 mlp:16")})
    recordings = prepare(session_paths)
    for result in fit(config, recordings[:2], recordings[2:]):
        result.save(tmp_path / "model.pt")
    model = load(tmp_path / "model.pt").model
    found = stitched_emissions(model, recordings[2], config.training).numpy()
    path = arpa / "shifts.arpa"
    for search, plain in (
        (BeamSearch(), None),
        (BeamSearch(language=LanguageModel(path), weight=0.9), PlainLanguage(path, 0.9, BONUS)),
    ):
        text = search.decode(found)
        assert len(text) > 20
        assert text == plain_beam_search(found, search.width, search.labels, plain)


def test_forgetting_what_nothing_descends_from_changes_no_text(arpa, monkeypatch):
    rng = np.random.default_rng(8)
    log_probs = noise(80, rng)
    log_probs[:, BACKSPACE] += 3
    search = BeamSearch(language=LanguageModel(arpa / "shifts.arpa"), weight=1.6, bonus=1.0)
    expected = search.decode(log_probs)
    forgotten = []
    keep = trie_module._Rows.keep

    def counted(self, numbers):
        before = self.count
        old = keep(self, numbers)
        forgotten.append(before - self.count)
        return old

    monkeypatch.setattr(trie_module, "LARGE", 100)
    monkeypatch.setattr(trie_module._Rows, "keep", counted)
    assert search.decode(log_probs) == expected
    assert sum(forgotten) > 500


def test_the_language_model_decides_what_emissions_leave_open(arpa):
    text, log_probs = encode("was it he who had"), []
    for label in text:
        frame = emissions_of([label], likely=0.999)
        frame[0, label] = math.log(0.4)
        frame[0, label_of("z")] = math.log(0.5)
        log_probs += [frame, emissions_of([BLANK])]
    found = np.concatenate(log_probs)
    language = LanguageModel(arpa / "plain.arpa")
    assert BeamSearch().decode(found) == [label_of("z")] * len(text)
    assert BeamSearch(language=language, weight=2.3, bonus=1.0).decode(found) == text


def score(arpa, keys, name="shifts", weight=1.0, bonus=0.5):
    """Return what a language model adds to a sequence of keys that emissions leave no doubt of."""
    from emgmodels.ctc.beam import _Beam

    path = [frame for key in keys for frame in (key, BLANK)]
    language = LanguageModel(arpa / f"{name}.arpa")
    beam = _Beam(BeamSearch(width=1, labels=1, language=language, weight=weight, bonus=bonus))
    beam.advance(emissions_of(path, likely=1 - 1e-9))
    assert beam.best() == list(keys)
    return float(beam.liking[0])


def test_a_backspace_gives_the_score_of_what_it_deletes_back(arpa):
    the, then = encode("the"), encode("then")
    typo = [*encode("thx"), BACKSPACE, *encode("e")]
    assert score(arpa, typo) == pytest.approx(score(arpa, the))
    assert score(arpa, [*then, BACKSPACE]) == pytest.approx(score(arpa, the))
    assert score(arpa, [*then, *[BACKSPACE] * 4]) == 0.0
    assert score(arpa, [BACKSPACE, BACKSPACE, *the]) == pytest.approx(score(arpa, the))
    assert score(arpa, [*the, BACKSPACE, *encode("e")]) == pytest.approx(score(arpa, the))
    assert score(arpa, [*the, ENTER, BACKSPACE, *encode("n")]) == pytest.approx(score(arpa, then))


def test_a_shift_types_nothing_and_goes_with_the_character_that_it_shifts(arpa):
    h, shifted = encode("h"), [SHIFT, *encode("T")]
    assert score(arpa, [*h, *shifted, BACKSPACE]) == pytest.approx(score(arpa, h))
    assert score(arpa, [*h, SHIFT, BACKSPACE]) == 0.0
    assert score(arpa, shifted) != pytest.approx(score(arpa, encode("T")))
    for name in ("shifts", "plain"):
        assert score(arpa, [*h, SHIFT, BACKSPACE], name) == 0.0
    assert score(arpa, shifted, "plain") == pytest.approx(score(arpa, encode("T"), "plain"))
    assert score(arpa, [SHIFT, SHIFT], "plain") == 0.0


def test_keys_outside_the_vocabulary_end_a_line(kenlm, arpa):
    """After them the model stands where a line begins; one without a line pays for the unknown."""
    model = kenlm.Model(str(arpa / "shifts.arpa"))
    assert "~" not in model
    line = model.score("t h e", bos=True, eos=True)
    for outside in (ENTER, label_of("~")):
        found = score(arpa, [*encode("the"), outside, *encode("the")])
        again = model.score("t h e", bos=True, eos=False)
        assert found == pytest.approx(line + again + 7 * 0.5, abs=1e-4)
    unknown = model.score("<unk>", bos=False, eos=False)
    assert score(arpa, [ENTER]) == pytest.approx(unknown + 0.5, abs=1e-4)


ARPA = """\
\\data\\
ngram 1={count}
ngram 2=2

\\1-grams:
-99\t<s>\t0
-2.0\t<unk>
-1.5\t</s>
-0.5\ta\t-0.25
-1.0\tb\t0
{others}
\\2-grams:
-0.2\t<s> a
-0.1\ta b

\\end\\
"""
"""log10 probabilities and backoffs, as ARPA files have them."""


def test_the_weight_multiplies_log10(kenlm, tmp_path):
    """By hand, weight 2 and bonus 0.3: <s> a, a b, then b, from b to a, and an enter from a."""
    others = "".join(f"-1.0\t{key}\t0\n" for key in "cdefghijkl")
    path = tmp_path / "hand.arpa"
    path.write_text(ARPA.format(count=15, others=others))
    keys = [*encode("abba"), ENTER]
    found = score(tmp_path, keys, "hand", weight=2.0, bonus=0.3)
    assert found == pytest.approx(2.0 * (-0.2 - 0.1 - 1.0 - 0.5 - (0.25 + 1.5)) + 5 * 0.3, abs=1e-5)
    # a is 10 ** 0.8 times as likely as b for the model, b 8 times as likely as a for the emissions
    doubt = emissions_of([A, BLANK])
    doubt[0, A], doubt[0, B] = math.log(0.1), math.log(0.8)
    language = LanguageModel(path)
    needed = math.log(8) / (1.0 - 0.2)
    for weight, text in ((0.95 * needed, [B]), (1.05 * needed, [A])):
        assert BeamSearch(language=language, weight=weight).decode(doubt) == text


def test_windows_are_decoded_one_by_one():
    rng = np.random.default_rng(1)
    windows = torch.from_numpy(np.stack([noise(3, rng), emissions_of([BLANK, A, A])]))
    search = BeamSearch(width=4)
    assert beam_decode(windows, search) == [search.decode(window) for window in windows]
    assert beam_decode(windows.float(), search)[1] == [A]


def test_a_beam_must_hold_a_prefix():
    with pytest.raises(ValueError, match="width is 0: it must be at least 1"):
        BeamSearch(width=0)
