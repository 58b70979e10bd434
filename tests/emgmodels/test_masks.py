"""The masks of SpecAugment: how many, how wide, where, and what shares them."""

import numpy as np
import pytest
import torch

from emgmodels.config import AugmentationConfig, TrainingConfig
from emgmodels.network.features import SpecAugment
from tests.fake_gpu import GPU, FakeGpu

WINDOWS, FRAMES, BINS = 400, 60, 33


def masked(windows=WINDOWS, seed=0, hop=16, **settings):
    """Return (N, 2, 3, T, F) booleans: which cells a mask covers."""
    augment = SpecAugment(AugmentationConfig(**settings), hop=hop)
    ones = torch.ones(windows, 2, 3, FRAMES, BINS)
    ones[..., 0, 0] += 1e-3  # so that no window's mean is 1
    return augment(ones.clone(), torch.Generator().manual_seed(seed)) != ones


def one_mask(**settings):
    """Return the settings of one mask in time at most, and of none in frequency."""
    return {"time_masks": 1, "time_mask_ms": 200, "frequency_masks": 0, **settings}


def plainly(features, settings, hop, generator):
    """Mask one cell at a time, as the settings are written."""
    n, bands, electrodes, frames, bins = features.shape
    config, out = AugmentationConfig(**settings), features.clone()
    groups = {"window": 1, "band": bands, "electrode": bands * electrodes}[config.mask_scope]
    width = round(config.time_mask_ms * 2 / hop)
    for axis, size, most, widest in (
        (0, frames, config.time_masks, width),
        (1, bins, config.frequency_masks, config.frequency_mask_bins),
    ):
        counts = torch.randint(0, most + 1, (n,), generator=generator).tolist()
        widths = torch.randint(0, widest + 1, (n, groups, most), generator=generator)
        places = torch.rand(n, groups, most, generator=generator)
        for i in range(n):
            fill = 0.0 if config.mask_fill == "zero" else features[i].mean()
            for band in range(bands):
                for electrode in range(electrodes):
                    group = (band * electrodes + electrode) * groups // (bands * electrodes)
                    for mask in range(counts[i]):
                        wide = int(widths[i, group, mask])
                        low = int(places[i, group, mask] * (size - wide + 1))
                        cells = out[i, band, electrode].movedim(axis, 0)
                        cells[low : low + wide] = fill
    return out


@pytest.mark.parametrize("scope", ["window", "band", "electrode"])
@pytest.mark.parametrize("fill", ["mean", "zero"])
def test_every_way_masks_as_the_plain_one(scope, fill):
    settings = {"mask_scope": scope, "mask_fill": fill, "time_mask_ms": 80}
    x = torch.randn(6, 2, 4, 50, 12, generator=torch.Generator().manual_seed(1))
    expected = plainly(x, settings, 16, torch.Generator().manual_seed(2))
    augment = SpecAugment(AugmentationConfig(**settings), hop=16)
    quick = augment(x.clone(), torch.Generator().manual_seed(2))
    whole = augment(x.clone().requires_grad_(), torch.Generator().manual_seed(2)).detach()
    with FakeGpu() as gpu:
        there = x.to(GPU)
        gpu.waits.clear()
        there = augment(there, torch.Generator().manual_seed(2))
        assert gpu.waits == []
        there = there.cpu()
    for found in (quick, whole, there):
        torch.testing.assert_close(found, expected)
    assert not torch.equal(expected, x)


def test_how_many_masks_there_are_is_drawn_once_a_window():
    """A window has masks on all of its electrodes or on none, if a mask is never of width 0."""
    for most in (1, 3):
        settings = {"time_masks": most, "time_mask_ms": 2000, "frequency_masks": 0}
        covered = masked(mask_scope="electrode", mask_fill="zero", hop=16, **settings)
        covered = covered.any(-1).any(-1).flatten(1).float().mean(1)  # of 6 electrodes a window
        share = float((covered == 0).float().mean())
        assert share == pytest.approx(1 / (most + 1), abs=0.08)
        # One mask of 0 to 60 frames is seen on 60 of 61 electrodes.
        assert float(covered[covered > 0].mean()) > 0.95


@pytest.mark.parametrize("scope", ["window", "band", "electrode"])
def test_widths_and_places_are_uniform(scope):
    covered = masked(windows=2000, **one_mask(mask_scope=scope, mask_fill="zero"))
    spans = covered[:, 0, 0, :, 1]  # (N, T) of one electrode
    widths = spans.sum(1)
    counts = torch.bincount(widths[widths > 0], minlength=26)[1:].double()
    assert len(counts) == 25  # 1 to 25 frames: 200 ms at 8 ms a frame
    expected = counts.sum() / 25
    assert float(((counts - expected) ** 2 / expected).sum()) < 52  # chi2(24) at 0.001: 51.2
    # A mask lies anywhere inside: as often at the beginning as at the end.
    first = spans.int().argmax(1)
    place = first[widths > 0] / (FRAMES - widths[widths > 0])
    assert float(place.mean()) == pytest.approx(0.5, abs=0.05)
    assert float(place.min()) == 0
    assert float(place.max()) == 1


@pytest.mark.parametrize(
    ("scope", "bands_share", "electrodes_share"),
    [("window", True, True), ("band", False, True), ("electrode", False, False)],
)
@pytest.mark.parametrize("axis", ["time", "frequency"])
def test_what_shares_a_draw_is_equal_and_the_rest_is_independent(
    scope, bands_share, electrodes_share, axis
):
    other = "frequency_masks" if axis == "time" else "time_masks"
    settings = {"time_masks": 1, "frequency_masks": 1, other: 0, "mask_scope": scope}
    covered = masked(mask_fill="zero", **settings)
    spans = covered.any(-1 if axis == "time" else -2)  # (N, 2, 3, T or F)
    seen = spans[spans.any(-1).all(-1).all(-1)]
    width = seen.sum(-1).double()
    for left, right, equal in (
        (np.s_[:, 0, 0], np.s_[:, 1, 0], bands_share),
        (np.s_[:, 0, 0], np.s_[:, 0, 1], electrodes_share),
    ):
        if equal:
            assert torch.equal(seen[left], seen[right])
        else:
            pair = torch.stack([width[left], width[right]])
            assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.25
            assert float((seen[left] == seen[right]).all(-1).double().mean()) < 0.2


@pytest.mark.parametrize("fill", ["mean", "zero"])
def test_masked_cells_take_what_they_are_told(fill):
    augment = SpecAugment(AugmentationConfig(mask_scope="electrode", mask_fill=fill), hop=16)
    x = 3 + torch.randn(20, 2, 3, FRAMES, BINS, generator=torch.Generator().manual_seed(1))
    y = augment(x.clone(), torch.Generator().manual_seed(2))
    for before, after in zip(x, y, strict=True):
        changed = after[before != after]
        expected = before.mean() if fill == "mean" else torch.tensor(0.0)
        torch.testing.assert_close(changed, expected.expand_as(changed))


def test_the_published_masks_are_0_to_3_of_25_frames_and_0_to_2_of_4_bins():
    published = TrainingConfig(recipe="emg2qwerty").augmentation.model_dump()
    covered = masked(windows=3000, **published)
    in_time = covered[:, 0, 0].all(-1)  # (N, T) of one electrode
    in_frequency = covered[:, 0, 0].all(-2)
    assert int(in_time.sum(1).max()) > 50  # more than two masks can cover
    assert int(in_time.sum(1).max()) <= 75
    assert int(in_frequency.sum(1).max()) in (7, 8)
    # Independent of each other across bands and electrodes, and each is zeros.
    assert float((in_time == covered[:, 0, 1].all(-1)).all(-1).float().mean()) < 0.35
    assert float((in_time == covered[:, 1, 0].all(-1)).all(-1).float().mean()) < 0.35
