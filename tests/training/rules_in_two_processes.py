"""Runs for test_rules.py, which starts this under torchrun. Usage: rules_in_two_processes.py FOLDER."""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import orthogen as og
import tiny_gan
from orthogen.training.recipe import Adam

NOG = og.NearestOrthogonalGradient(("0",))
OLR = og.OptimalLearningRate(("0", "2"))
RULES = {"olr": og.OptimalLearningRate(("4", "7")), "nog": og.NearestOrthogonalGradient(("0", "7"))}


def recipe(**changes: object) -> og.Recipe:
    """Both rules on layers of the plain networks, fast enough for rates to matter."""
    made = tiny_gan.means()
    objective = og.Objective(made.objective.loss, made.objective.terms, RULES)
    settings = {"objective": objective, "clip": 1.0, "generator_optimizer": Adam(lr=0.02)}
    return tiny_gan.means(**{**settings, **changes})


def classify(rank: int, size: int, wrap: type[nn.Module] | None = None) -> dict[str, Tensor]:
    """Some steps of a loop of one's own on this process's part of each batch; weights and used rates."""
    torch.manual_seed(0)
    net: nn.Module = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    net = wrap(net) if wrap else net
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    olr, _ = OLR.bind(net).attach(optimizer), NOG.bind(net).attach(optimizer)
    rates = []
    for _ in range(5):
        x, y = torch.randn(8, 6).chunk(size)[rank], torch.randint(3, (8,)).chunk(size)[rank]
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        rates += [olr.log["rate/0.weight"], olr.log["rate/2.weight"]]
    return {**{str(i): p.detach() for i, p in enumerate(net.parameters())}, "rates": torch.stack(rates)}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    og.train(recipe(), folder / "run", quiet=True, log_every=24, device="cpu")
    rank = torch.distributed.get_rank()
    torch.save(classify(rank, 2, nn.parallel.DistributedDataParallel), folder / f"ddp{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
