"""The fast forms of the blocks against plain ones, written out from their descriptions."""

import pytest
import torch
from torch.nn.functional import layer_norm, linear

from emgmodels.network.front import RollingNorm, RotationInvariantMLP, SpectrogramNorm
from emgmodels.stages.attention import rotate
from emgmodels.stages.tds import TDSBlock, TimeConv


def test_rotation_invariant_mlp_is_the_mean_over_rolled_inputs():
    mlp = RotationInvariantMLP(bands=2, electrodes=5, bins=7, features=6)
    x = torch.randn(3, 2, 5, 11, 7)
    expected = []
    for band, layer in enumerate(mlp.bands):
        rolled = [x[:, band].roll(k, dims=1).transpose(1, 2).flatten(2) for k in (-1, 0, 1)]
        expected.append(torch.stack([layer(r).relu() for r in rolled]).mean(0))
    torch.testing.assert_close(mlp(x), torch.cat(expected, dim=-1), rtol=1e-5, atol=1e-6)


def test_rotation_invariant_mlp_of_an_arc_does_not_wrap_it():
    mlp = RotationInvariantMLP(bands=1, electrodes=5, bins=7, features=6, around=False)
    x = torch.randn(3, 1, 5, 11, 7)
    arc = x[:, 0].transpose(1, 2)  # (N, T, E, F)
    nothing = torch.zeros(3, 11, 1, 7)
    moved = [torch.cat([arc[:, :, 1:], nothing], 2), arc, torch.cat([nothing, arc[:, :, :-1]], 2)]
    expected = torch.stack([mlp.bands[0](m.flatten(2)).relu() for m in moved]).mean(0)
    torch.testing.assert_close(mlp(x), expected, rtol=1e-5, atol=1e-6)


def test_spectrogram_norm_makes_electrodes_alike_and_keeps_their_spectrum():
    norm = SpectrogramNorm(bands=2, electrodes=3, bins=5)
    x = torch.randn(4, 2, 3, 20, 5) * torch.arange(1, 7).view(1, 2, 3, 1, 1) + 20 * torch.arange(5)
    y = norm(x).permute(1, 2, 0, 3, 4)  # (B, E, N, T, F)
    torch.testing.assert_close(y.flatten(2).mean(-1), torch.zeros(2, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.flatten(2).std(-1), torch.ones(2, 3), atol=0.01, rtol=0)
    assert (y.mean((2, 3)).diff(dim=-1) > 0).all()


def test_spectrogram_norm_of_each_bin():
    norm = SpectrogramNorm(bands=2, electrodes=3, bins=5, per_bin=True)
    x = torch.randn(4, 2, 3, 20, 5) * torch.arange(1, 6) + torch.arange(5)
    y = norm(x).permute(1, 2, 4, 0, 3).flatten(3)  # (B, E, F, N T)
    torch.testing.assert_close(y.mean(-1), torch.zeros(2, 3, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std(-1), torch.ones(2, 3, 5), atol=0.01, rtol=0)


def test_rolling_norm_is_the_score_of_each_bin_in_its_own_past():
    x = torch.randn(2, 2, 3, 30, 4, generator=torch.Generator().manual_seed(0)) * 2 + 5
    y = RollingNorm(frames=7)(x)
    for t in (0, 3, 6, 7, 20, 29):
        past = x[..., max(0, t - 6) : t + 1, :].double()
        variance = past.var(3, unbiased=False) + RollingNorm.EPSILON
        expected = (past[..., -1, :] - past.mean(3)) / variance.sqrt()
        torch.testing.assert_close(y[..., t, :], expected.float(), rtol=1e-4, atol=1e-4)


def test_rolling_norm_needs_no_float64_where_a_signal_jumps_and_is_long():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, 2, 5000, 3, generator=generator) * 1e-2
    x[..., 2000:, :] += 6.0  # log power of an electrode that came off
    y = RollingNorm(frames=125)(x)
    assert y.dtype == torch.float32
    reach = x.double().unfold(3, 125, 1)  # (N, B, E, T - 124, F, 125)
    scale = (reach.var(-1, unbiased=False) + RollingNorm.EPSILON).sqrt()
    expected = (reach[..., -1] - reach.mean(-1)) / scale
    torch.testing.assert_close(y[..., 124:, :], expected.float(), rtol=1e-3, atol=1e-3)


def test_deeper_shared_mlp_is_the_mean_over_rolled_inputs():
    mlp = RotationInvariantMLP(bands=2, electrodes=5, bins=7, features=6, layers=2, shared=True)
    x = torch.randn(3, 2, 5, 11, 7)
    (first,), (deeper,) = mlp.bands, mlp.deeper
    expected = []
    for band in range(2):
        rolled = [x[:, band].roll(k, dims=1).transpose(1, 2).flatten(2) for k in (-1, 0, 1)]
        expected.append(torch.stack([deeper[0](first(r).relu()).relu() for r in rolled]).mean(0))
    torch.testing.assert_close(mlp(x), torch.cat(expected, dim=-1), rtol=1e-5, atol=1e-6)


def test_tds_block_written_out():
    block = TDSBlock(12, 3, 4)
    x = torch.randn(2, 10, 12)
    y = torch.zeros(2, 7, 3, 4)
    weight, bias = block.conv.weight[:, :, 0], block.conv.bias  # (out, in, kernel)
    planes = x.view(2, 10, 3, 4)
    for t in range(7):
        for k in range(4):
            y[:, t] += torch.einsum("oi,niw->now", weight[:, :, k], planes[:, t + k])
    y = (y + bias[None, None, :, None]).relu().flatten(2) + x[:, 3:]
    y = layer_norm(y, (12,), block.conv_norm.weight, block.conv_norm.bias)
    first, _, second = block.fc
    y = y + linear(linear(y, first.weight, first.bias).relu(), second.weight, second.bias)
    y = layer_norm(y, (12,), block.fc_norm.weight, block.fc_norm.bias)
    torch.testing.assert_close(block(x), y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 3, 5, 9), (2, 3, 4, 31), (1, 3, 1, 4)])
def test_time_convolution_is_the_textbook_one(shape):
    conv = TimeConv(3, 3, kernel_size=(1, 4))
    found = []
    for call in (conv, lambda x: torch.nn.functional.conv2d(x, conv.weight, conv.bias)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
        y = call(x)
        conv.zero_grad()
        y.sin().sum().backward()
        found.append([y, x.grad, conv.weight.grad, conv.bias.grad])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


def test_rotary_positions_keep_their_angles_in_bfloat16():
    """In bfloat16 itself no odd angle beyond 256 exists."""
    x = torch.randn(1, 2, 600, 16, generator=torch.Generator().manual_seed(0))
    reduced = rotate(x.bfloat16()).float()
    error = (reduced - rotate(x)).norm() / x.norm()
    assert error < 0.01
