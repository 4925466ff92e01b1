import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from orthogen.metrics._pairs import Pairs
from orthogen.metrics._predictor import Predictor, _Bfloat16Relu, look
from vectors import GOLDEN

GIVEN = json.loads((GOLDEN / "vp_predictor_forward.json").read_text())
EXPECTED = ("eval_initial_stats", "train_mode", "eval_after_one_train_forward")


def filled(channels: int) -> Predictor:
    """The golden file's weights: closed forms of the position, rounded to float32."""
    network = Predictor(channels, 6).double()
    with torch.no_grad():
        for k, (name, parameter) in enumerate(network.named_parameters()):
            i = np.arange(1, parameter.numel() + 1)
            if parameter.ndim > 1:
                values = np.sin(0.7 * i + k) * math.sqrt(2 / parameter[0].numel())
            else:
                values = 1 + 0.1 * np.sin(i + k) if name.endswith("weight") else 0.1 * np.cos(i + k)
            parameter.copy_(torch.from_numpy(values.astype(np.float32)).double().view(parameter.shape))
    return network


def seen(kind: str) -> torch.Tensor:
    strip = np.sin(0.37 * np.arange(2 * 3 * 64 * 128)).astype(np.float32).reshape(2, 3, 64, 128)
    first, second = torch.from_numpy(strip).double().chunk(2, dim=3)
    return first - second if kind == "diff" else torch.cat([first, second], dim=1)


@pytest.mark.parametrize(("kind", "channels"), [("diff", 3), ("concat", 6)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_logits_are_golden(kind, channels, layout):
    golden, network = GIVEN[kind], filled(channels).to(memory_format=layout)
    x = seen(kind).contiguous(memory_format=layout)
    assert [[name, list(p.shape)] for name, p in network.named_parameters()] == [row[:2] for row in golden["params"]]
    with torch.no_grad():
        for state, training in zip(EXPECTED, (False, True, False), strict=True):
            logits = network.train(training)(x)
            np.testing.assert_allclose(logits, golden[state], rtol=0, atol=1e-9)


def test_gradient_is_that_of_a_plain_network():
    network, x = filled(3).train(), seen("diff")
    loss = network(x).square().sum()
    ours = torch.autograd.grad(loss, list(network.parameters()))
    plain = x
    for i in range(4):
        plain = torch.relu(network.get_submodule(f"bn{i}")(network.get_submodule(f"conv{i}")(plain)))
        plain = nn.functional.max_pool2d(plain, 3, 2, 1) if i == 1 else plain
    theirs = torch.autograd.grad(network.output(plain.mean((2, 3))).square().sum(), list(network.parameters()))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_folded_batch_norm_gives_the_same_logits():
    network, x = filled(3), seen("diff")
    with torch.no_grad():
        network.train()(x)
        before = [p.clone() for p in network.parameters()]
        folded = network.folded(torch.float64)
        assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
        expected = network.eval()(x)
        torch.testing.assert_close(folded(x), expected, rtol=0, atol=1e-12)
        single = network.folded(torch.float32)(x.float())
        torch.testing.assert_close(single.double(), expected, rtol=0, atol=1e-4)
        half = network.folded(torch.bfloat16)(x.bfloat16())
        torch.testing.assert_close(half.double(), expected, rtol=0, atol=0.05 * expected.abs().max().item())
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_relu_on_bits_is_relu(rng, layout):
    x = torch.randn(2, 8, 4, 4, generator=rng).bfloat16().contiguous(memory_format=layout)
    x[0, 0, 0] = torch.tensor([-0.0, torch.inf, -torch.inf, 1e-40])
    assert torch.equal(_Bfloat16Relu()(x.clone()), torch.relu(x))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_it_sees(rng, channels):
    first, second = (torch.randint(256, (5, channels, 4, 4), generator=rng, dtype=torch.uint8) for _ in range(2))
    pairs, index = Pairs(first, second, torch.ones(5, 2).double()), torch.tensor([3, 0])
    width = 3 if channels == 1 else channels
    difference, both = look(pairs, index, "difference"), look(pairs, index, "concat")
    assert difference.shape == (2, width, 4, 4)
    assert both.shape == (2, 2 * width, 4, 4)
    expected = (first[index].double() - second[index].double()) / 127.5
    torch.testing.assert_close(difference.double(), expected.expand_as(difference), rtol=0, atol=1e-6)
    torch.testing.assert_close(both[:, :width] - both[:, width:], difference)
    torch.testing.assert_close(both[:, 0].double(), first[index][:, 0] / 127.5 - 1, check_dtype=False)
