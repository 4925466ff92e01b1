"""``orthogen heatmaps``: where in its images a penalty of a generator is large, and between which components."""

from argparse import ArgumentParser, Namespace

__all__ = ["heat_maps", "options"]


def options(p: ArgumentParser) -> None:
    """The options of the verb that no other has."""
    p.add_argument("penalties", nargs="*", metavar="PENALTY", help="HessianPenalty, OroJaR (default: both)")
    p.add_argument(
        "--directions", nargs="+", default=(), metavar="FILE|WHICH",
        help="whose coordinates derivatives are of: a directions file, which ones, or both, as for traverse (default: "
        "the model's own, or the latent's coordinates)",
    )  # fmt: skip
    p.add_argument("--rows", type=int, metavar="N", help="the first N directions, where none are named (default: 12)")
    p.add_argument("--samples", type=int, default=8, metavar="N", help="how many base latents (default: 8)")
    p.add_argument("--probes", type=int, default=200, metavar="K", help="of the Hessian Penalty (default: 200)")
    p.add_argument("--past-norm", action="store_true", help="behind ProGAN's own norm of latents, as it was released")
    p.add_argument("--seed", type=int, default=0, help="of the base latents and probes (default: 0)")


def heat_maps(given: Namespace) -> None:
    """Draw what the options say and print the files."""
    from orthogen.cli.source import beside, generator_of, shifted
    from orthogen.cli.traverse import chosen
    from orthogen.evaluation.waiting import waiting
    from orthogen.reporting import heat_maps as files

    shifted(given, "penalties")
    file, only = chosen(given.directions, given.source)
    if only and given.rows is not None:
        raise ValueError(f"--rows {given.rows} stands for directions by number, and {only[0]} is named; leave it out")
    with waiting():
        written = files.heat_maps(
            generator_of(given),
            given.penalties or ("HessianPenalty", "OroJaR"),
            file,
            only=only,
            to=given.to or beside(given, "heat_maps"),
            rows=12 if given.rows is None else given.rows,
            samples=given.samples,
            k=given.probes,
            past_norm=given.past_norm,
            seed=given.seed,
            title="" if given.source is None else beside(given, "").resolve().name,
        )
    for path in written:
        print(path)
