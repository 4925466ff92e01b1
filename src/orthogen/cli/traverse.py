"""``orthogen traverse``: what each direction does, as strips, a contact sheet and films."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

__all__ = ["chosen", "options", "traverse"]


def options(p: ArgumentParser) -> None:
    """The options of the verb that no other has."""
    p.add_argument(
        "--directions", nargs="+", default=(), metavar="FILE|WHICH",
        help="a directions file, which ones, or both: sefa.safetensors 0 5 pose (default: the model's own, or the "
        "latent's coordinates); a file in the run's directions/ goes by its name, such as sefa",
    )  # fmt: skip
    p.add_argument("--rows", type=int, metavar="N", help="the first N directions, where none are named (default: 12)")
    p.add_argument("--all", action="store_true", help="all directions there are")
    p.add_argument("--rows-per-file", type=int, default=12, metavar="N", help="split more over files (default: 12)")
    p.add_argument("--samples", type=int, default=3, metavar="N", help="how many base latents (default: 3)")
    p.add_argument("--seed", type=int, default=0, help="of the base latents and classes (default: 0)")
    p.add_argument("--steps", type=int, metavar="N", help="columns of the strips (default: 9)")
    p.add_argument(
        "--path-size", "--extent", type=float, metavar="X", dest="extent",
        help="go from -X to X, in units of the latent (default: two standard deviations where they are known, or the "
        "latent's span)",
    )  # fmt: skip
    p.add_argument(
        "--past-norm", action="store_true",
        help="move latents behind ProGAN's own norm of them, as its released tool does (default: in front of it, which "
        "is its --interpolate_pre_norm)",
    )  # fmt: skip
    p.add_argument("--contact", action="store_true", help="the contact sheet too where all directions are drawn anyway")
    p.add_argument("--no-strips", action="store_true", help="no strips (PNG)")
    films = p.add_argument_group("films", "a GIF, unless other kinds are named")
    for kind, about in (("gif", "a GIF"), ("webp", "an animated WebP"), ("mp4", "an MP4 (needs the extra 'video')")):
        films.add_argument(f"--{kind}", action="store_true", help=about)
    films.add_argument("--no-film", action="store_true", help="none")
    films.add_argument("--transpose", action="store_true", help="a row per base latent, a column per direction")
    films.add_argument(
        "--path", metavar="PATH",
        help="pingpong: there and back; linear: from end to end; smooth_center: as in the released videos of the "
        "Hessian Penalty and OroJaR (default: pingpong)",
    )  # fmt: skip
    films.add_argument("--frames", type=int, metavar="N", help="length (default: 48; smooth_center 180)")
    films.add_argument("--fps", type=float, metavar="X", help="frames a second (default: 20; smooth_center 60)")


def chosen(words: Sequence[str], source: str | None) -> tuple[Path | None, list[str]]:
    """The file of directions, None for the latent's coordinates, and which of them; all if none are named.

    Example:
        >>> chosen(["0", "5", "86"], None)
        (None, ['0', '5', '86'])
        >>> chosen(["found.safetensors", "pose"], "runs/x")
        (PosixPath('found.safetensors'), ['pose'])

    Raises:
        ValueError: the first is neither a file nor a number.
    """
    if not words:
        return None, []
    from orthogen.checkpoints import home_of

    first, folder = Path(words[0]), home_of(source or ".") / "directions"
    kept = folder / f"{first.name}.safetensors"
    if first.suffix in (".safetensors", ".pt", ".pth") or first.is_file():
        return first, list(words[1:])
    if kept.is_file():
        return kept, list(words[1:])
    if not words[0].isdecimal():
        stems = sorted(file.stem for file in folder.glob("*.safetensors"))
        there = f", such as {', '.join(stems)} in {folder}" if stems else ""
        raise ValueError(
            f"--directions {words[0]}: give a directions file{there}, or numbers of the latent's coordinates"
        )
    return None, list(words)


def traverse(given: Namespace) -> None:
    """Draw what the options say and print the files."""
    from orthogen.cli.source import beside, generator_of
    from orthogen.evaluation.waiting import waiting
    from orthogen.reporting import traversal

    if given.no_strips and given.no_film:
        raise ValueError("--no-strips and --no-film leave nothing to draw; give one of them at most")
    file, only = chosen(given.directions, given.source)
    if given.rows is not None and given.all:
        raise ValueError(f"--rows {given.rows} and --all contradict each other; leave one of them out")
    if only and (given.rows is not None or given.all):
        raise ValueError(f"--rows and --all stand for directions by number, and {only[0]} is named; leave them out")
    named = given.gif or given.webp or given.mp4
    if named and given.no_film:
        raise ValueError("--no-film contradicts --gif, --webp and --mp4; leave one of them out")
    for name in ("path", "frames", "fps"):
        if given.no_film and getattr(given, name) is not None:
            raise ValueError(f"--{name} is of films, and --no-film draws none; leave one of them out")
    if given.no_film and given.transpose:
        raise ValueError("--transpose is of films, and --no-film draws none; leave one of them out")
    if given.no_strips and given.steps is not None:
        raise ValueError("--steps is of strips, and --no-strips draws none; leave one of them out")
    with waiting():
        written = traversal.traverse(
            generator_of(given),
            file,
            only=only,
            to=given.to or beside(given, "traversals"),
            rows=None if given.all else 12 if given.rows is None else given.rows,
            per_file=given.rows_per_file,
            samples=given.samples,
            steps=9 if given.steps is None else given.steps,
            extent=given.extent,
            seed=given.seed,
            grid=not given.no_strips,
            contact=given.contact or None,
            gif=not given.no_film and (given.gif or not named),
            webp=given.webp,
            mp4=given.mp4,
            path=given.path or "pingpong",
            frames=given.frames,
            fps=given.fps,
            transpose=given.transpose,
            past_norm=given.past_norm,
        )
    for path in written:
        print(path)
