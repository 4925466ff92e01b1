"""Penalties on latents in a step: what they see of a generator and of a batch, and what they add to the loss."""

from collections.abc import Mapping
from types import MappingProxyType

from torch import Tensor

from orthogen.core.generator import Generator
from orthogen.core.kinds import LatentPenalty
from orthogen.core.maps import LatentMap, probe
from orthogen.training.objective import Term
from orthogen.training.state import State, Values, tally

__all__ = ["latent_maps", "latent_penalty", "rows_of"]


def latent_maps(terms: Mapping[str, Term], generator: Generator) -> dict[str, LatentMap]:
    """What the latent penalties see, by term."""
    return {
        name: probe(generator, term.layers) for name, term in terms.items() if isinstance(term.penalty, LatentPenalty)
    }


def rows_of(term: Term, parts: int) -> slice:
    """Which latents a term sees of one of the parts that a batch is divided into.

    Example:
        >>> from orthogen import OroJaR
        >>> rows_of(Term(OroJaR()), parts=2), rows_of(Term(OroJaR(), batch=8), parts=2)
        (slice(None, None, None), slice(None, 4, None))
    """
    return slice(None) if term.batch is None else slice(max(1, term.batch // parts))


def latent_penalty(
    state: State,
    name: str,
    f: LatentMap,
    z: Tensor,
    values: Values,
    shares: Mapping[str, float] = MappingProxyType({}),
) -> Tensor:
    """The weighted sum over the layers of a map, logged with its summands.

    Args:
        state: of the run.
        name: of the term.
        f: what the penalty sees.
        z: at which latents.
        values: where to log.
        shares: how far layers take part, which is not logged; 1 where nothing is said.
    """
    penalty, parts = state.recipe.terms[name].penalty, state.recipe.accumulate
    assert isinstance(penalty, LatentPenalty)
    terms = penalty.terms(f, z, state=state.memory(name), rng=state.rng(name))
    total = penalty.total({layer: shares.get(layer, 1.0) * value for layer, value in terms.items()})
    tally(values, f"penalty/{name}", total / parts)
    if len(terms) > 1:
        for layer, value in terms.items():
            tally(values, f"penalty/{name}/{layer}", value / parts)
    return total
