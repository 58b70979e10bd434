"""N-gram models estimated here, as KenLM reads them."""

import math

import numpy as np
import pytest

from emgmodels.charset import BLANK, encode, key_of, label_of
from emgmodels.language import START, LanguageModel, typed_lines, write_arpa
from emgmodels.synthetic.text import sentence

ORDER = 4


@pytest.fixture(scope="module")
def lines():
    rng = np.random.default_rng(11)
    return list(typed_lines(sentence(rng) for _ in range(300)))


@pytest.fixture(scope="module")
def arpa(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("lm") / "lm.arpa"
    write_arpa(lines[:250], ORDER, path)
    return path


def words(labels):
    return " ".join(map(key_of, labels))


@pytest.mark.parametrize("context", ["", "T", "th", "the ", "zq", "~", "he was i", "."])
def test_probabilities_after_any_context_add_up_to_one(kenlm, arpa, context):
    model = kenlm.Model(str(arpa))
    vocabulary = [key for key in map(key_of, range(BLANK)) if key in model]
    state, after = kenlm.State(), kenlm.State()
    for begin in (model.BeginSentenceWrite, model.NullContextWrite):
        begin(state)
        for key in words(encode(context)).split():
            model.BaseScore(state, key, after)
            state, after = after, kenlm.State()
        tokens = [*vocabulary, "</s>", "<unk>"]
        total = sum(10 ** model.BaseScore(state, token, after) for token in tokens)
        assert total == pytest.approx(1, abs=1e-5)


def test_held_out_text_is_predicted_better_by_longer_ngrams(kenlm, tmp_path, lines):
    """Far better than by single keys, and as a 4-gram of such a grammar should."""
    bits = []
    for order in (2, 3, 4):
        path = tmp_path / f"{order}.arpa"
        write_arpa(lines[:250], order, path)
        model = kenlm.Model(str(path))
        log10 = sum(model.score(words(line)) for line in lines[250:])
        bits.append(-log10 / math.log10(2) / sum(len(line) + 1 for line in lines[250:]))
    assert bits[0] > bits[1] > bits[2]
    assert 2.5 < bits[0] < 4
    assert bits[2] < 2


def test_smoothing_by_hand(kenlm, tmp_path):
    """Two lines, bigrams: single keys count by what they follow; few counts, so D = 0.5, 1, 1.5."""
    write_arpa([encode("ab"), encode("ab"), encode("b")], 2, tmp_path / "lm.arpa")
    model = kenlm.Model(str(tmp_path / "lm.arpa"))
    # a follows <s>; b follows a and <s>; </s> follows b: of 4 in all, 0.5 + 1 + 0.5 discounted,
    # which goes to a, b, </s> and <unk> alike.
    uniform = 2.0 / 4 / 4
    a, b = (1 - 0.5) / 4 + uniform, (2 - 1) / 4 + uniform
    # <s> is followed by a twice and by b once: 1 and 0.5 discounted.
    expected = (2 - 1) / 3 + 1.5 / 3 * a
    assert 10 ** next(model.full_scores("a"))[0] == pytest.approx(expected, rel=1e-5)
    expected_b = (1 - 0.5) / 3 + 1.5 / 3 * b
    assert 10 ** next(model.full_scores("b"))[0] == pytest.approx(expected_b, rel=1e-5)
    unknown = model.score("<unk>", bos=False, eos=False)
    assert 10**unknown == pytest.approx(uniform, rel=1e-5)


def test_discounts_are_estimated_where_there_is_enough_text(tmp_path):
    """Chen and Goodman's formulas on unigram counts 1, 1, 1, 1, 2, 2, 3, 4 by continuation."""
    from emgmodels.language.estimate import _discounts

    n1, n2, n3, n4 = 4, 2, 1, 1
    y = n1 / (n1 + 2 * n2)
    found = _discounts(np.array([1, 1, 1, 1, 2, 2, 3, 4]))
    assert found == (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    assert _discounts(np.array([1, 1, 2, 3])) == (0.5, 1.0, 1.5)


def test_a_line_is_typed_with_its_shifts():
    found = list(typed_lines(["Ok, “so”!\n\n", "é\n☃"]))
    assert found == [encode('⇧Ok, ⇧"so⇧"⇧!'), encode("e")]
    assert list(typed_lines(["Ok"], shifts=False)) == [encode("Ok")]


def test_states_and_scores_are_those_of_kenlm(kenlm, arpa, lines):
    model, language = kenlm.Model(str(arpa)), LanguageModel(arpa)
    assert language.order == ORDER
    assert not language.silent
    state, total = np.array([START]), 0.0
    for label in lines[270]:
        key = np.array([label])
        total += float(language.scores(state, key)[0])
        state = language.successors(state, key)
    assert total == pytest.approx(model.score(words(lines[270]), eos=False), rel=1e-5)
    enter = np.array([label_of("Key.enter")])
    assert language.successors(state, enter) == START


def test_many_states_are_numbered_apart(kenlm, arpa, lines):
    """More of them than the first table holds, and each answers as a fresh model does."""
    language = LanguageModel(arpa)
    ends = {}
    for line in lines:
        state = np.array([START])
        for i, key in enumerate(line, 1):
            state = language.successors(state, np.array([key]))
            ends.setdefault(int(state[0]), tuple(line[:i]))
    assert len(ends) > 256
    model, space = kenlm.Model(str(arpa)), np.array(encode(" "))
    for number, keys in ends.items():
        whole = model.score(f"{words(keys)} Key.space", eos=False)
        expected = whole - model.score(words(keys), eos=False)
        assert float(language.scores(np.array([number]), space)[0]) == pytest.approx(
            expected, abs=1e-4
        )


def test_what_is_no_model_of_characters_is_refused(kenlm, tmp_path):
    with pytest.raises(ValueError, match="there is no such file"):
        LanguageModel(tmp_path / "none.arpa")
    (tmp_path / "text.arpa").write_text("not a model")
    with pytest.raises(ValueError, match=r"text\.arpa: is no n-gram model"):
        LanguageModel(tmp_path / "text.arpa")
    write_arpa([encode("ab")], 2, tmp_path / "two.arpa")
    with pytest.raises(ValueError, match="must be of characters"):
        LanguageModel(tmp_path / "two.arpa")
    with pytest.raises(ValueError, match="no text"):
        write_arpa([], 3, tmp_path / "empty.arpa")
    with pytest.raises(ValueError, match=r"order 7: .* 2 to 6"):
        write_arpa([encode("ab")], 7, tmp_path / "long.arpa")
