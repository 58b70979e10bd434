import itertools
import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emgmodels.charset import BLANK, NUM_CLASSES
from emgmodels.ctc import aligned_loss, ctc_loss, greedy_decode


def log_probs_of(paths):
    """Return (N, T, 99) log-probabilities with nearly all mass on the given classes."""
    scores = torch.full((len(paths), len(paths[0]), NUM_CLASSES), -20.0)
    for n, path in enumerate(paths):
        for t, label in enumerate(path):
            scores[n, t, label] = 20.0
    return scores.log_softmax(-1)


def collapse(path):
    return [k for k, _ in itertools.groupby(path) if k != BLANK]


def test_greedy_merges_repeats_and_keeps_doubled_letters_apart_by_a_blank():
    b = BLANK
    paths = [[0, 0, b, 0, 1], [b, b, b, b, b], [5, b, b, 5, 5], [2, 3, 2, 3, 3]]
    assert greedy_decode(log_probs_of(paths)) == [[0, 0, 1], [], [5, 5], [2, 3, 2, 3]]


@given(st.lists(st.lists(st.sampled_from([0, 1, BLANK]), min_size=6, max_size=6), min_size=1))
@settings(deadline=None, max_examples=30)
def test_greedy_is_the_collapsed_path(paths):
    assert greedy_decode(log_probs_of(paths)) == [collapse(path) for path in paths]


def test_ctc_loss_sums_over_all_alignments():
    """Three frames, target 'a b': every path that collapses to it, added up by hand."""
    generator = torch.Generator().manual_seed(0)
    log_probs = torch.randn(1, 3, NUM_CLASSES, generator=generator).log_softmax(-1)
    total = 0.0
    for path in itertools.product([0, 1, BLANK], repeat=3):
        if collapse(path) == [0, 1]:
            total += math.exp(sum(float(log_probs[0, t, k]) for t, k in enumerate(path)))
    loss = ctc_loss(log_probs, torch.tensor([[0, 1]]), torch.tensor([2]))
    assert math.isclose(float(loss), -math.log(total) / 2, rel_tol=1e-5)


def test_ctc_loss_ignores_what_cannot_be_aligned():
    log_probs = torch.zeros(1, 2, NUM_CLASSES).log_softmax(-1)
    assert float(ctc_loss(log_probs, torch.tensor([[1, 1, 1]]), torch.tensor([3]))) == 0.0


def test_ctc_loss_of_an_empty_window_is_that_of_all_blanks():
    log_probs = log_probs_of([[BLANK, BLANK]])
    assert abs(float(ctc_loss(log_probs, torch.zeros(1, 0).long(), torch.tensor([0])))) < 1e-4


ONE, TWO = torch.tensor([1]), torch.tensor([2])


def test_aligned_loss_wants_the_key_around_its_press_and_the_blank_elsewhere():
    b = BLANK
    labels, frames = torch.tensor([[7, 9, 0]]), torch.tensor([[2, 6, -1]])
    right = log_probs_of([[b, 7, 7, 7, b, 9, 9, 9, b, b]])
    assert float(aligned_loss(right, labels, TWO, frames, 1, 0.3)) < 1e-4
    late = log_probs_of([[b, b, 7, 7, 7, 9, 9, 9, b, b]])
    assert float(aligned_loss(late, labels, TWO, frames, 1, 0.3)) > 1.0


def test_aligned_loss_by_hand():
    """Uniform emissions: log 99 for each of 3 key frames, 0.3 of it for 7 blanks, over 1 label."""
    uniform = torch.zeros(2, 10, NUM_CLASSES).log_softmax(-1)
    labels, frames = torch.tensor([[7], [7]]), torch.tensor([[4], [4]])
    loss = float(aligned_loss(uniform, labels, torch.tensor([1, 1]), frames, 1, 0.3))
    assert math.isclose(loss, math.log(99) * (3 + 0.3 * 7), rel_tol=1e-5)


def test_aligned_loss_bounds_ctc_from_above():
    """One alignment is one term of CTC's sum, so its likelihood is at most CTC's."""
    generator = torch.Generator().manual_seed(3)
    log_probs = torch.randn(4, 12, NUM_CLASSES, generator=generator).log_softmax(-1)
    labels, frames = torch.tensor([[3, 5]] * 4), torch.tensor([[2, 8]] * 4)
    lengths = torch.tensor([2] * 4)
    aligned = aligned_loss(log_probs, labels, lengths, frames, 1, 1.0)
    assert float(aligned) > float(ctc_loss(log_probs, labels, lengths))


def test_aligned_loss_skips_windows_whose_labels_have_no_times():
    uniform = torch.zeros(2, 10, NUM_CLASSES).log_softmax(-1)
    labels, frames = torch.tensor([[7], [7]]), torch.tensor([[4], [-1]])
    lengths = torch.tensor([1, 1])
    both = float(aligned_loss(uniform, labels, lengths, frames, 1, 0.3))
    timed = float(aligned_loss(uniform[:1], labels[:1], lengths[:1], frames[:1], 1, 0.3))
    assert math.isclose(both, timed / 2, rel_tol=1e-5)


def test_aligned_loss_wants_blanks_where_nothing_was_typed():
    blanks, keys = log_probs_of([[BLANK] * 4]), log_probs_of([[7] * 4])
    nothing = torch.zeros(1, 0).long()
    empty = torch.tensor([0])
    assert abs(float(aligned_loss(blanks, nothing, empty, nothing, 1, 0.3))) < 1e-4
    assert float(aligned_loss(keys, nothing, empty, nothing, 1, 0.3)) > 1


def test_the_key_nearer_to_a_frame_has_it():
    labels, frames = torch.tensor([[7, 9]]), torch.tensor([[3, 4]])
    right = log_probs_of([[BLANK, BLANK, 7, 7, 9, 9, BLANK]])
    assert float(aligned_loss(right, labels, TWO, frames, 1, 0.3)) < 1e-4
