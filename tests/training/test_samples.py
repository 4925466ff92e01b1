from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import orthogen as og
from orthogen.training.samples import grid, write_samples


def test_a_grid_puts_images_side_by_side() -> None:
    images = torch.linspace(-1, 1, 3).view(3, 1, 1, 1).expand(3, 2, 4, 5)
    sheet = grid(images)
    assert sheet.shape == (8, 10, 2)
    assert [sheet[0, 0, 0].item(), sheet[0, 5, 0].item(), sheet[4, 0, 0].item(), sheet[4, 5, 0].item()] == [
        0,
        128,
        255,
        0,
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_samples_depend_on_the_seed_alone_and_leave_no_trace(tmp_path: Path, channels: int) -> None:
    net = nn.Sequential(
        nn.Linear(2, 16 * channels), nn.BatchNorm1d(16 * channels), nn.Dropout(0.5), nn.Unflatten(1, (channels, 4, 4))
    )
    net[1].eval()
    net[1].running_mean += 0.1
    adapted = og.adapt(net, og.Normal(2))
    before = {name: x.clone() for name, x in net.state_dict().items()}, torch.get_rng_state()
    write_samples(tmp_path / "a.png", adapted, 0)
    write_samples(tmp_path / "b.png", adapted, 0)
    write_samples(tmp_path / "c.png", adapted, 1)
    a, b, c = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in "abc")
    assert a.shape == ((32, 32) if channels == 1 else (32, 32, 3))
    assert (a == b).all()
    assert (a != c).any()
    assert all(torch.equal(x, before[0][name]) for name, x in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before[1])
    assert [part.training for part in net] == [True, False, True, True]
