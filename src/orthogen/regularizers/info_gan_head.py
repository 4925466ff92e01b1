"""InfoGAN on the critic's features: a head of its own reads the latent back off what the critic sees."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogen.core.generator import Generator
from orthogen.core.kinds import CriticBatch, CriticPenalty, ImageSet
from orthogen.core.maps import probe
from orthogen.core.shapes import Float, Int
from orthogen.core.untouched import untouched
from orthogen.layers.equalized import EqualizedConv2d, EqualizedLinear

__all__ = ["InfoGanHead"]

LINEAR = (nn.Linear, nn.Conv2d, EqualizedLinear, EqualizedConv2d)  # whose last one is read where no layer is named


@dataclass(frozen=True)
class InfoGanHead(CriticPenalty):
    """First latents, and the class, can be read back off the critic's feature maps; added to both players' losses.

        L = E (1/n) sum_i (z_i - m_i)^2 - class_weight E log softmax(l)_y,   (m, l) = head( features of D at G(z, y) )

    The first part, with weight 1, is the baseline of the Hessian Penalty's and OroJaR's ProGAN. The second is there
    where the generator takes class labels; alone, and behind the critic's back, it is VP-GAN's class head (`vp_gan`).
    In the critic's step head and critic learn, in the generator's the generator. The head is a 3x3 convolution and two
    linear layers with equalized learning rates and LeakyReLU 0.2; where features are vectors it has no convolution.
    `InfoGan` is the one with a network of its own, apart from the critic.

    Attributes:
        codes: n, how many latents are predicted, from 0 on; None for all.
        layer: of the critic; the head reads what this layer is given. In ProGAN it is ``"b4.stddev"``, in front of
            which feature maps have 4 pixels. Empty for the last linear layer or convolution that runs.
        width: of the convolution, which vectors do without, and of the first linear layer.
        class_weight: of the classes' part, beside that of the codes; 0 leaves it out.
        critic_learns: whether the critic learns it too; if not, the head makes do with the features that there are.

    Raises:
        ValueError: a field is out of range; more codes than latents; nothing to predict; the critic has no such layer,
            or it does not run; no head was given, or no latents or labels that it predicts, or no critic to make a head
            for.

    Reference:
        X. Chen, Y. Duan, R. Houthooft, J. Schulman, I. Sutskever, P. Abbeel, "InfoGAN: Interpretable Representation
        Learning by Information Maximizing Generative Adversarial Nets", NeurIPS 2016; this head: W. Peebles et al.,
        "The Hessian Penalty", ECCV 2020, with its released code; class head: X. Zhu, C. Xu, D. Tao, "Learning
        Disentangled Representations with Latent Variation Predictability", ECCV 2020, its released code alone.

    Example:
        >>> from orthogen.core.generator import adapt
        >>> from orthogen.core.latent import Normal
        >>> from orthogen.models.progan import ProGan
        >>> model = ProGan(Normal(6), resolution=8, channel_max=16)
        >>> built = model.build()
        >>> penalty, D = InfoGanHead(codes=2, layer="b4.stddev", width=8), built["critic"]
        >>> head = penalty.init(model.adapt(built["generator"]), critic=D)  # to be learned with the critic
        >>> for parameter in head.parameters():             # one that says 0 is wrong by the codes' own mean square
        ...     _ = nn.init.zeros_(parameter)
        >>> penalty.of_generator(D, torch.zeros(4, 3, 8, 8), torch.full((4, 6), 2.0), state=head).item()
        4.0
    """

    codes: int | None = None
    layer: str = ""
    width: int = 512
    class_weight: float = 1.0
    critic_learns: bool = True

    def __post_init__(self) -> None:
        if (self.codes is not None and self.codes < 0) or self.width < 1 or not self.class_weight >= 0:
            raise ValueError(
                f"InfoGanHead(codes={self.codes}, width={self.width}, class_weight={self.class_weight}): give no fewer "
                "than 0 codes, a width of 1 at least, and a weight of 0 at least"
            )
        if self.codes == 0 and not self.class_weight:
            raise ValueError("InfoGanHead(codes=0, class_weight=0): nothing to predict; give either")

    @classmethod
    def vp_gan(cls) -> "InfoGanHead":
        """VP-GAN's class head: classes alone, from what the critic's last layer sees. Its weight is unknown."""
        return cls(codes=0, critic_learns=False)

    def init(self, generator: Generator, data: ImageSet | None = None, critic: nn.Module | None = None) -> nn.Module:
        """The head, on the critic's device and in its precision."""
        if critic is None:
            raise ValueError("InfoGanHead makes a head for a critic's features: penalty.init(generator, critic=critic)")
        dim = generator.latent.dim
        if self.codes is not None and self.codes > dim:
            raise ValueError(
                f"InfoGanHead(codes={self.codes}): the latent has {dim} dimensions; give as many codes at most"
            )
        outputs = (dim if self.codes is None else self.codes) + (generator.classes if self.class_weight else 0)
        if not outputs:
            raise ValueError("InfoGanHead(codes=0): the generator takes no classes; give codes to predict")
        weight = next(critic.parameters(), torch.empty(0))
        images = _example(generator, data).to(weight)
        labels = torch.zeros(len(images), dtype=torch.int64, device=weight.device)
        with torch.no_grad():
            try:
                features = self._seen(critic, images, labels if generator.classes else None)
            except TypeError:  # it takes labels that the generator does not
                features = self._seen(critic, images, labels)
        maps = features.ndim == 4
        head = nn.Sequential(
            *([EqualizedConv2d(features.shape[1], self.width, 3), nn.LeakyReLU(0.2)] if maps else []),
            nn.Flatten(),
            EqualizedLinear(
                self.width * features[0, 0].numel() if maps else features[0].numel(), self.width, gain=2**0.5
            ),
            nn.LeakyReLU(0.2),
            EqualizedLinear(self.width, outputs),
        )
        return head.to(weight)

    def __call__(
        self,
        critic: nn.Module,
        batch: CriticBatch,
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """A scalar to add to the critic's loss."""
        if batch.fake_latents is None:
            raise ValueError("InfoGanHead predicts the latents of generated images; give fake_latents with the batch")
        return self._error(critic, batch.fake, batch.fake_latents, batch.fake_labels, state, self.critic_learns)

    def of_generator(
        self,
        critic: nn.Module,
        fake: Float[Tensor, "batch c h w"],
        latents: Float[Tensor, "batch dim"],
        labels: Int[Tensor, "batch"] | None = None,
        *,
        state: nn.Module | None = None,
        rng: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """The same for the generator's loss."""
        return self._error(critic, fake, latents, labels, state, True)

    def errors(
        self,
        outputs: Float[Tensor, "batch outputs"],
        codes: Float[Tensor, "batch n"],
        labels: Int[Tensor, "batch"] | None,
    ) -> Float[Tensor, "batch"]:
        """The loss of each image, for the head's outputs: codes, then logits of classes."""
        means, logits = outputs[:, : codes.shape[1]], outputs[:, codes.shape[1] :]
        error = (codes - means).square().mean(1) if codes.shape[1] else outputs.new_zeros(len(outputs))
        if not logits.shape[1]:
            return error
        if labels is None:
            raise ValueError("InfoGanHead predicts the classes of generated images; give their labels with the batch")
        return error + self.class_weight * F.cross_entropy(logits, labels, reduction="none")

    def _error(
        self,
        critic: nn.Module,
        fake: Tensor,
        latents: Tensor,
        labels: Tensor | None,
        head: nn.Module | None,
        through: bool,
    ) -> Tensor:
        """The loss, whose gradient goes through the critic or stops there."""
        if head is None:
            raise ValueError(
                "InfoGanHead learns a head: make it with state = penalty.init(generator, critic=critic), give its "
                "parameters to the critic's optimizer and hand it over as state=state"
            )
        features = self._seen(critic, fake, labels)
        with torch.autocast(fake.device.type, enabled=False):
            outputs = head(features if through else features.detach())
        codes = latents if self.codes is None else latents[:, : self.codes]
        return self.errors(outputs, codes, labels).mean()

    def _seen(self, critic: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        """What the layer is given, for these images."""
        # a critic behind an augmentation is called ``critic`` there
        names = (self.layer, f"critic.{self.layer}")
        parts = [
            part for name, part in critic.named_modules() if (name in names if self.layer else isinstance(part, LINEAR))
        ]
        if not parts:
            some = ", ".join([name for name, _ in critic.named_modules() if name][:5])
            raise ValueError(f"InfoGanHead(layer={self.layer!r}): the critic has no such layer; it has {some}, ...")
        given: list[Tensor] = []
        handles = [part.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0])) for part in parts]
        try:
            # a pass of its own, as of gradient penalties: no autocast, and nothing of it stays in the critic
            with untouched(critic, images.device) as host:
                host.rewind()
                critic(images) if labels is None else critic(images, labels)
        finally:
            for handle in handles:
                handle.remove()
        if not given:
            raise ValueError(f"InfoGanHead(layer={self.layer!r}): the critic has that layer and does not run it")
        return given[-1]


def _example(generator: Generator, data: ImageSet | None) -> Tensor:
    """Two images of the shape that the critic sees."""
    if data is not None:
        return torch.zeros(2, data.channels, data.resolution, data.resolution)
    with torch.no_grad():
        weight = next(generator.module.parameters(), torch.empty(0))
        (images,) = probe(generator)(torch.zeros(2, generator.latent.dim).to(weight))
    return images
