import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.core.groups import grouped
from orthogen.core.kinds import ImageSet
from orthogen.core.long_tail import long_tail_counts
from orthogen.layers.batch_norm import ConditionalBatchNorm2d
from orthogen.layers.class_vectors import Tables
from orthogen.layers.spectral_norm import SpectralLinear
from orthogen.training.recipe import Adam
from tiny_classes import SpotData
from tiny_gan import lines

# of the authors' poster, in steps: when classes break away from those that rise slowly, and what they reach at 28,000
BREAKS = {9: (6_000, 3.45), 8: (12_000, 5.05), 7: (17_500, 4.35), 6: (22_000, 3.25)}
END = 28_000
COUNTS = long_tail_counts(5000, 10, rho=100)


def poster(step, classes=10):
    """The norms of ten classes after so many steps, as in the figure."""
    calm = 0.45 + np.linspace(0.45, 0.7, classes) * step / END
    for label, (start, end) in BREAKS.items():
        if step > start:
            calm[label] += (end - calm[label]) * (step - start) / (END - start)
    return torch.tensor(calm)


def norms(classes=10, layers=2, width=64):
    return nn.ModuleList(
        ConditionalBatchNorm2d(nn.Embedding(classes, width), nn.Embedding(classes, width), width) for _ in range(layers)
    )


def shape_to(norm, sigma, rng):
    """Gains with these spectral norms, in no direction in particular."""
    W = torch.randn(len(sigma), 8, 8, generator=rng)
    W = W * (sigma / torch.linalg.matrix_norm(W, 2))[:, None, None]
    norm.gain.weight.data = W.flatten(1).float()


def observed(monitor, net, steps, trajectory, rng):
    """Logs and warnings of so many steps."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    bound = monitor.bind(net).attach(optimizer)
    logs, told = [], []
    for step in steps:
        shape_to(net[1], trajectory(step), rng)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            optimizer.step()
        told += [(step, str(each.message)) for each in caught]
        logs.append(bound.log)
    return logs, told


def test_values_are_exact_norms_of_every_class_and_layer():
    net = norms()
    monitor = og.SpectralMonitor(targets=("gain", "bias"), every=3).bind(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    log = monitor.before(optimizer)
    for target in ("gain", "bias"):
        for layer in (0, 1):
            table = getattr(net[layer], target).weight.double()
            sigma = torch.linalg.svdvals(grouped(table))[:, 0]
            for label in range(10):
                assert log[f"{target}/{layer}/{label}"] == pytest.approx(sigma[label].item(), rel=1e-9)
            assert log[f"{target}/{layer}/mean"] == pytest.approx(sigma.mean().item())
            assert log[f"{target}/{layer}/max"] == pytest.approx(sigma.max().item())
    assert len(log) == 2 * 2 * 12 + 1
    assert [bool(monitor.before(optimizer)) for _ in range(6)] == [False, False, True, False, False, True]


def test_classes_that_break_away_are_named_in_their_order_and_once(rng):
    monitor = og.SpectralMonitor(every=1, counts=COUNTS)
    logs, told = observed(monitor, norms(), range(0, END + 1, 500), poster, rng)
    assert [int(text.split()[1]) for _, text in told] == [9, 8, 7, 6]
    for (step, text), (label, (start, _)) in zip(told, BREAKS.items(), strict=True):
        assert start < step < start + 6_500
        assert f"class {label} ({COUNTS[label]} images) breaks away: its gain at 1 has 2." in text
        assert "look at its samples and its IntraClassDiversity" in text
        assert "\n" not in text
        assert 2 < logs[step // 500][f"away/{label}"] < 2.5
    assert [log["breaking_away"] for log in logs][:: len(logs) - 1] == [0, 4]
    assert sum(key.startswith("away/") for log in logs for key in log) == 4
    assert [logs[0][f"images/{label}"] for label in (0, 9)] == [5000, 50]
    assert not any(key.startswith("images/") for log in logs[1:] for key in log)


def test_classes_that_rise_together_or_scatter_are_none(rng):
    calm = lambda step: poster(min(step, 6_000))  # noqa: E731
    assert observed(og.SpectralMonitor(every=1), norms(), range(0, END, 1000), calm, rng)[1] == []
    wide = lambda step: torch.linspace(0.1, 2.0, 10) * (1 + step / END)  # noqa: E731
    assert observed(og.SpectralMonitor(every=1), norms(), range(0, END, 1000), wide, rng)[1] == []
    large = lambda step: torch.tensor([0.45] * 9 + [3.0])  # noqa: E731, large from the beginning, and no larger later
    shrinking = lambda step: large(step) * (1 - step / END / 2)  # noqa: E731
    assert observed(og.SpectralMonitor(every=1), norms(), range(0, END, 1000), shrinking, rng)[1] == []


def test_what_is_remembered_goes_on_after_a_restart(rng):
    """A class that is away is told once for all; one that was large from the beginning still is none."""
    net, monitor = norms(), og.SpectralMonitor(every=1, counts=COUNTS)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    first, second = (monitor.bind(net) for _ in range(2))
    told = []
    for bound, steps in ((first, range(0, 14_000, 1000)), (second, range(14_000, 18_000, 1000))):
        if bound is second:
            second.memory.load_state_dict(first.memory.state_dict())
        for step in steps:
            shape_to(net[1], poster(step), rng)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                log = bound.before(optimizer)
            told += [(step, int(str(each.message).split()[1])) for each in caught]
            assert any(key.startswith("images/") for key in log) == (step == 0)
    assert [label for _, label in told] == [9, 8]
    assert max(step for step, _ in told) < 16_000
    assert all(value.isfinite().all() for value in second.memory.state_dict().values())  # as a run asks of all it keeps


def test_only_the_first_of_several_processes_warns_and_draws(rng, monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    logs = []
    for rank in (0, 1):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        with pytest.warns(RuntimeWarning, match="class 9") if rank == 0 else nullcontext():
            logs.append(measured(Painter(), og.SpectralMonitor(every=1), rng))
    assert "diversity/9" in logs[0]
    assert not any(key.startswith("diversity/") for key in logs[1])
    assert logs[0]["away/9"] == pytest.approx(logs[1]["away/9"], rel=1e-5)


class Painter(nn.Module):
    """Images z + y / 10 of 1 x 2 x 2, each class with a part of z of its own; class 9 always makes the same image."""

    def __init__(self, classes=10):
        super().__init__()
        self.norm = norms(classes, layers=1)[0]
        self.register_buffer("share", torch.linspace(0.1, 1.0, classes).flip(0) * (torch.arange(classes) < classes - 1))
        self.passes = 0

    def forward(self, z, label):
        self.passes += 1
        label = label.long()
        return (z * self.share[label, None] + label[:, None] / 10).view(-1, 1, 2, 2)


def measured(net, monitor, rng, labels=None):
    """What is logged once class 9 has broken away, behind a pass that is learned from and one that is not."""
    bound = monitor.bind(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    z = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(len(z)) % 10 if labels is None else labels
    for last in (1.0, 3.0):
        shape_to(net.norm, torch.tensor([1.0] * 9 + [last]), rng)
        net(z, label=labels)
        with torch.no_grad():
            net(torch.zeros(3, 4), label=labels[:3])
        log = bound.before(optimizer)
    return log


def test_diversity_is_that_of_images_of_one_class_from_the_latents_of_the_batch(rng):
    net, z = Painter(), torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    with pytest.warns(RuntimeWarning, match="class 9") as caught:
        log = measured(net, og.SpectralMonitor(every=1, images=8), rng)
    expected = (torch.pdist(z[:8]).square().mean() / 4).sqrt().item()
    for label in range(9):
        assert log[f"diversity/{label}"] == pytest.approx(expected * (1 - 0.1 * label), rel=1e-5)
    assert log["diversity/9"] == 0
    usual = np.median([log[f"diversity/{label}"] for label in range(10)])
    text = str(caught[0].message)
    assert f"and grows; two of its images differ by 0, those of the median class by {usual:.2g}; such a class" in text
    assert net.passes == 4 + 2 * 10
    assert net.training


@pytest.mark.parametrize("images", [16, 0])
def test_without_labels_or_images_there_is_no_diversity(rng, images):
    labels = torch.arange(12.0) % 10 if images else None  # not of integers
    with pytest.warns(RuntimeWarning, match="the median class, and grows; such a class is often about to collapse"):
        log = measured(Painter(), og.SpectralMonitor(every=1, images=images), rng, labels)
    assert not any(key.startswith("diversity/") for key in log)


def test_of_many_classes_the_rarest_are_listed():
    net, counts = norms(30), tuple(range(30, 0, -1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    log = og.SpectralMonitor(counts=counts).bind(net).before(optimizer)
    assert [label for label in range(30) if f"gain/0/{label}" in log] == list(range(10, 30))
    assert log["gain/0/max"] >= max(log[f"gain/0/{label}"] for label in range(10, 30))
    log = og.SpectralMonitor().bind(net).before(optimizer)
    assert set(log) == {f"gain/{layer}/{what}" for layer in "01" for what in ("mean", "max")} | {"breaking_away"}


def test_counts_and_names_come_from_the_data():
    class Data(ImageSet):
        channels, resolution, classes = 3, 32, ("cat", "dog")

        def __len__(self):
            return 3

        def images(self, index, *, rng=None):
            raise NotImplementedError

        def labels(self, index):
            return torch.tensor([0, 0, 1])[index] if self.classes else None

    monitor = og.SpectralMonitor().with_data(Data())
    assert (monitor.counts, monitor.names) == ((2, 1), ("cat", "dog"))
    bare = Data()
    bare.classes = ()
    assert og.SpectralMonitor().with_data(bare) == og.SpectralMonitor()


def test_it_changes_nothing_in_a_biggan_not_even_a_power_iteration():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = og.BigGan(resolution=32, classes=4, dim=16, shared_dim=8, width=4, attention=()).build()["generator"]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    log = og.SpectralMonitor().bind(net).before(torch.optim.Adam(net.parameters()))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(part.training for part in net.modules())
    gain = net.blocks[0][0].bn1.gain
    assert isinstance(gain, SpectralLinear)
    rows = net.shared.weight @ gain.acting_weight()[:, :8].T
    expected = torch.linalg.matrix_norm(grouped(rows[2]), 2).item()
    assert log["gain/blocks.0.0.bn1/2"] == pytest.approx(expected, rel=1e-4)


def test_where_most_classes_have_not_moved_yet_none_breaks_away(rng):
    net = norms(layers=1)
    net[0].gain.weight.data.zero_()  # as tables begin that hold offsets
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    monitor = og.SpectralMonitor(every=1).bind(net)
    monitor.before(optimizer)
    shape_to(net[0], torch.tensor([1.0] * 4 + [0.0] * 6), rng)
    assert monitor.before(optimizer)["breaking_away"] == 0
    for last in (1.0, 3.0):
        shape_to(net[0], torch.tensor([1.0] * 9 + [last]), rng)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            log = monitor.before(optimizer)
        assert log["breaking_away"] == len(caught) == (last == 3)


def test_a_resumed_run_logs_at_the_same_steps():
    net, due = norms(), []
    optimizer = torch.optim.Adam(net.parameters())
    monitor = og.SpectralMonitor(every=4).bind(net).attach(optimizer)
    for step in range(11):
        if step == 6:
            state = optimizer.state_dict()
            optimizer = torch.optim.Adam(net.parameters())
            optimizer.load_state_dict(state)
            monitor = og.SpectralMonitor(every=4).bind(net).attach(optimizer)
        for parameter in net.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        due += [step] if monitor.log else []
    assert due == [0, 4, 8]


def test_mistakes(unchecked):
    with pytest.raises(ValueError, match=r"every=0.: give an interval of at least 1 step"):
        og.SpectralMonitor(every=0)
    with pytest.raises(ValueError, match=r"images=1.: give 2 at least, which can differ, or 0 for none"):
        og.SpectralMonitor(images=1)
    with pytest.raises(ValueError, match="'gain', 'bias' or both are accepted, as a tuple"):
        og.SpectralMonitor(targets=("beta",))
    with pytest.raises(ValueError, match="3 counts were given for the 10 classes of the generator"):
        og.SpectralMonitor(counts=(3, 2, 1)).bind(norms())
    with pytest.raises(ValueError, match="SpectralMonitor: Linear has no conditional norm of orthogen"):
        og.SpectralMonitor().bind(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="no layer has a gain; leave it out of targets"):
        og.SpectralMonitor(vectors=Tables(biases=("*.bias",))).bind(norms())


def test_an_interrupted_run_goes_on_with_what_the_monitor_knows(tmp_path):
    """Classes that are away are not told again, and the log is that of a run that nobody stopped."""
    recipe = og.Recipe(
        "tail",
        og.Sngan(og.Normal(4), 8, channels=1, classes=3, width=2, generator_levels=(2, 2), critic_levels=(2,)),
        SpotData(),
        og.Objective(og.Hinge(), rules={"spectral": og.SpectralMonitor(every=1)}),
        generator_optimizer=Adam(lr=0.05), images=96, batch=16, checkpoint_every=16, sample_every=0,
    )  # fmt: skip

    def crash(line):
        if line["images"] == 48:
            raise KeyboardInterrupt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        og.train(recipe, tmp_path / "whole", device="cpu", quiet=True, log_every=16)
        with pytest.raises(KeyboardInterrupt):
            og.train(recipe, tmp_path / "parts", device="cpu", quiet=True, log_every=16, on_log=crash)
        run = og.train(recipe, tmp_path / "parts", device="cpu", quiet=True, log_every=16)
    logged = lines(tmp_path / "whole")
    assert lines(tmp_path / "parts") == logged
    assert sum("spectral/images/0" in line for line in logged) == 1
    assert all("spectral/diversity/2" in line for line in logged)
    assert set(run.newest.tensors("rule/spectral/")) == {"away", "least"}
