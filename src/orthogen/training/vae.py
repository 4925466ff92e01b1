"""An encoder and a decoder that learn together: what a run of `orthogen.VaeRecipe` holds, and its steps."""

from pathlib import Path

import torch
from torch import Tensor, nn

from orthogen.core.kinds import CriticPenalty, ImageSet, LatentPenalty, WeightPenalty
from orthogen.core.latent import Normal
from orthogen.core.shapes import Float
from orthogen.core.untouched import evaluating
from orthogen.training.distributed import Processes
from orthogen.training.feed import Batch
from orthogen.training.latent_terms import latent_maps, latent_penalty, rows_of
from orthogen.training.objective import Term
from orthogen.training.player import Player
from orthogen.training.reconstructions import write_reconstructions
from orthogen.training.state import State, Values, tally
from orthogen.training.vae_recipe import VaeRecipe

__all__ = ["Autoencoder"]


class Autoencoder(State):
    """An encoder and a decoder, at image 0 when made.

    Attributes:
        generator: the decoder network, adapted: its images are in [-1, 1]; the module inside returns logits.
        encoder: the encoder network, which returns mean and log variance of codes.
        maps: what the latent penalties see, by term.
    """

    shown = "generator"
    recipe: VaeRecipe

    def __init__(self, recipe: VaeRecipe, images: ImageSet, processes: Processes) -> None:
        super().__init__(recipe, images, processes)
        self._images = images
        self.maps = latent_maps(recipe.terms, self.generator)

    def build(self, images: ImageSet) -> dict[str, nn.Module]:
        """An encoder and a decoder that fit the images."""
        model, built = self.recipe.model, self.recipe.model.build()
        name = type(model).__name__
        if set(built) != {"encoder", "generator"}:
            raise ValueError(
                f"{name} builds {', '.join(sorted(built))}; a VaeRecipe takes a model that builds an encoder and a "
                "generator, such as Vae"
            )
        if not isinstance(model.latent, Normal):
            raise ValueError(f"{name} has the latent {model.latent}; the divergence of a VaeRecipe is from Normal(dim)")
        self.generator, self.encoder = model.adapt(self.place(built["generator"])), self.place(built["encoder"])
        self._check_images(images)
        return built

    def _check_images(self, images: ImageSet) -> None:
        name, wanted = type(self.recipe.model).__name__, (images.channels, images.resolution, images.resolution)
        z = torch.zeros(2, self.generator.latent.dim, device=self.processes.device)
        with torch.no_grad(), evaluating(self.generator.module, self.encoder):
            drawn = self.generator(z)
            if tuple(drawn.shape[1:]) != wanted:
                made, had = ("x".join(map(str, each)) for each in (drawn.shape[1:], wanted))
                raise ValueError(
                    f"{name} makes images of {made} and {type(self.recipe.data).__name__} has images of {had} "
                    "(channels x height x width); change one to fit the other"
                )
            codes = [tuple(code.shape) for code in self.encoder(drawn)]
        if codes != [tuple(z.shape)] * 2:
            raise ValueError(
                f"{name}: the encoder made {codes} of two images; it must return mean and log variance, each "
                f"{tuple(z.shape)}"
            )

    def memory_of(self, term: Term, images: ImageSet) -> nn.Module | None:
        """What a penalty of the decoder remembers."""
        assert not isinstance(term.penalty, CriticPenalty)  # the recipe has seen to it
        return term.penalty.init(self.generator, images)

    def seat(self, images: ImageSet) -> dict[str, Player]:
        """Encoder and decoder as one, with what penalties learn."""
        recipe, decoder = self.recipe, self.generator.module
        both = nn.ModuleDict({"encoder": self.encoder, "generator": decoder})
        rules = {name: rule.with_data(images).bind(decoder) for name, rule in recipe.rules.items()}
        return {"vae": Player("vae", both, dict(self.memories.items()), recipe.optimizer, recipe.clip, rules)}

    def take_step(self, batch: Batch) -> Values:
        """One step on this process's part of a batch, by the bound and the penalties.

        A batch in several parts (processes, accumulation) gives the gradients of one batch where losses and penalties
        are means over samples and nothing draws; the total correlation is estimated, and a maximum taken, in each part.
        A term's ``batch`` is shared out to the parts.
        """
        parts, values = self.recipe.accumulate, Values()
        for share, noise, z in zip(batch.chunk(parts), self._noise().chunk(parts), self._prior(), strict=True):
            codes = self._learn(share.images, noise, values)
            self._regularize(codes if z is None else z, values)
        for name, penalty, weight in self.due(WeightPenalty, self.step):
            value = penalty(self.generator, state=self.memory(name), rng=self.rng(name))
            tally(values, f"penalty/{name}", value)
            (weight * value).backward()
        values |= self.players["vae"].step(self.rate, self.processes, self.buffers)
        self.count()
        return values

    def _noise(self) -> Float[Tensor, "part dim"]:
        """This process's part of what makes codes of a step's means."""
        size = self.recipe.batch, self.generator.latent.dim
        drawn = torch.randn(size, generator=self.shared["posterior"])
        return self.processes.part(drawn).to(self.processes.device)

    def _prior(self) -> list[Tensor | None]:
        """Fresh latents for penalties, in the parts of an accumulated batch; None where they see codes, or are none."""
        if not self.maps or self.recipe.pair_source == "posterior":
            return [None] * self.recipe.accumulate
        z = self.generator.latent.sample(self.recipe.batch, rng=self.shared["latent"])
        return list(self.processes.part(z).to(self.processes.device).chunk(self.recipe.accumulate))

    def _learn(self, images: Tensor, noise: Tensor, values: Values) -> Tensor:
        """The gradients of the bound, which is logged with its parts; the codes that were drawn, without graph."""
        elbo, parts = self.recipe.elbo, self.recipe.accumulate
        with self.autocast():
            mean, log_variance = self.encoder(self.laid(images))
        mean, log_variance = mean.float(), log_variance.float()
        codes = mean + (log_variance / 2).exp() * noise
        with self.autocast():
            logits = self.generator.module(codes)
        found = elbo.parts(logits.float(), images, codes, mean, log_variance)
        loss = elbo.loss(found)
        tally(values, "loss/vae", loss / parts)
        tally(values, "loss/reconstruction", found.error / parts)
        tally(values, "loss/divergence", found.divergence.sum() / parts)
        tally(values, "divergence/index_code", found.index_code / parts)
        tally(values, "divergence/total_correlation", found.total_correlation / parts)
        tally(values, "divergence/dimension_wise", found.dimension_wise / parts)
        for i, value in enumerate(found.divergence):
            tally(values, f"divergence/latent/{i}", value / parts)
        (loss / parts).backward()
        return codes.detach()

    def _regularize(self, z: Tensor, values: Values) -> None:
        """The gradients of the latent penalties."""
        for name, _, weight in self.due(LatentPenalty, self.step):
            rows = rows_of(self.recipe.terms[name], self.parts)
            value = latent_penalty(self, name, self.maps[name], z[rows], values)
            (weight / self.recipe.accumulate * value).backward()

    def sample(self, path: Path) -> None:
        """Always the same images beside their reconstructions, and images of always the same latents."""
        adapted = self.recipe.model.adapt(self.average.module)
        write_reconstructions(path, adapted, self.encoder, self._images, self.recipe.seed)
