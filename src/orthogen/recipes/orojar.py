"""OroJaR as in its release: ProGAN, the simple GAN on dSprites and CelebA, and searches in BigGAN."""

from dataclasses import replace

from orthogen.core.latent import Normal
from orthogen.data.celeba import CelebA
from orthogen.data.shapes3d import Shapes3d
from orthogen.evaluation.search_recipe import SearchRecipe
from orthogen.models.simple_gan import SimpleGan
from orthogen.recipes import _biggan, _progan, _simple
from orthogen.recipes._progan import Way
from orthogen.regularizers.orojar import OroJaR
from orthogen.training.objective import Term
from orthogen.training.recipe import Recipe

__all__ = [
    "celeba",
    "celeba_small",
    "church_coarse",
    "church_coarse_small",
    "church_fine",
    "church_fine_small",
    "church_mid",
    "church_mid_small",
    "clevr_1fov",
    "clevr_1fov_small",
    "clevr_complex",
    "clevr_complex_small",
    "clevr_simple",
    "clevr_simple_small",
    "clevr_u",
    "clevr_u_small",
    "edges_shoes",
    "edges_shoes_small",
    "goldens_coarse",
    "goldens_coarse_small",
    "goldens_fine",
    "goldens_fine_small",
    "goldens_mid",
    "goldens_mid_small",
    "sprites",
    "sprites_small",
]

FACES = 202_599  # images of CelebA, an epoch

PATH = (
    "Every released script passes --path_size 5, and training never reads it: derivatives are taken at the origin. The "
    "released loss has one more normalization of the rows, of 1e-10, which changes nothing."
)
STOPPED = "The released script shows a matrix of iteration 31,999, which is not in the release."
FAR = "Direction 37 of the published ones, which changes the color, is meant to be shown with a path size of 15."
UNNAMED = "The released names of these directions are a copy of another file's list and are left out."

RELEASE = _progan.Release(
    paper="orojar",
    penalty=Term(OroJaR(variance="population")),
    changed=True,
    lr=2e-4,
    kimg=100_000,
    small=Term(OroJaR(variance="population", normalize="numel"), weight=1.0),
    rescaled="The released weight belongs to the full width and to sums over activations; here it is 1, and to means.",
    tuned=None,
    departures=(
        "The released network has no norm of the latent and no activation behind its first layer, and so have its "
        "baselines: vanilla and InfoGAN are other networks than the Hessian Penalty's.",
    ),
)


def sprites() -> Recipe:
    """The simple GAN on dSprites, 64 px, with OroJaR on four layers (OroJaR's release, dsprites_orojar)."""
    return _simple.with_term(
        _simple.sprites("orojar.sprites"),
        "orojar",
        Term(OroJaR(), weight=1e-11, layers=_simple.SPRITES_LAYERS),
        "The released weight of 1e-11 is kept. At initialization the raw penalty is about 5e6, so the term is 5e-5 and "
        "has no measurable effect there.",
        "The sum over layers is unnormalized as released, so the deepest layer outweighs the first a billion times.",
    )


def sprites_small() -> Recipe:
    """The small twin of orojar.sprites: 32 px, minutes on two cores, with a weight that has an effect."""
    return _simple.with_term(
        _simple.small_sprites("orojar.sprites_small"),
        "orojar",
        Term(OroJaR(normalize="numel"), weight=1.0, layers=_simple.SPRITES_LAYERS[:-1]),
        "Squared norms are divided by their size and the weight is 1: at this size the released weight of 1e-11 does "
        "nothing at all.",
    )


def celeba() -> Recipe:
    """The larger simple GAN on CelebA, 128 px, with OroJaR on five layers (OroJaR's release, celeba_orojar)."""
    model = SimpleGan(Normal(30), channels=3, resolution=128)
    recipe = replace(
        _simple.sprites("orojar.celeba"),
        model=model,
        data=CelebA(),
        images=1200 * FACES,
        decay_from=600 * FACES,
        checkpoint_every=FACES,
        sample_every=FACES,
        departures=(_simple.SCHEDULER,),
        metrics=("Activeness",),
    )
    return _simple.with_term(recipe, "orojar", Term(OroJaR(), weight=1e-6, layers=model.regularized_layers))


def celeba_small() -> Recipe:
    """The small twin of orojar.celeba: drawn scenes at 32 px in place of faces, minutes on two cores."""
    model = SimpleGan(Normal(30), channels=3, resolution=32, width=0.25)
    small = _simple.small_sprites("orojar.celeba_small")
    recipe = replace(
        small,
        model=model,
        data=Shapes3d(resolution=32),
        departures=(
            _simple.SCHEDULER,
            "Drawn scenes stand in for CelebA, which cannot be shipped.",
            *small.departures[-1:],
        ),
        metrics=("Activeness",),
    )
    return _simple.with_term(
        recipe, "orojar", Term(OroJaR(normalize="numel"), weight=1.0, layers=model.regularized_layers)
    )


def goldens_coarse() -> SearchRecipe:
    """40 directions for golden retrievers in latent components 0 to 39 of BigGAN (OroJaR's release, goldens coarse)."""
    return _biggan.search("orojar.goldens_coarse", "OroJaR", PATH, STOPPED)


def goldens_coarse_small() -> SearchRecipe:
    """The small twin of orojar.goldens_coarse."""
    return _biggan.small(goldens_coarse())


def goldens_mid() -> SearchRecipe:
    """40 directions for golden retrievers in latent components 40 to 79 of BigGAN (OroJaR's release, goldens mid)."""
    return _biggan.search("orojar.goldens_mid", "OroJaR", PATH, FAR)


def goldens_mid_small() -> SearchRecipe:
    """The small twin of orojar.goldens_mid."""
    return _biggan.small(goldens_mid())


def goldens_fine() -> SearchRecipe:
    """40 directions for golden retrievers in latent components 80 to 119 of BigGAN (OroJaR's release, goldens fine)."""
    return _biggan.search("orojar.goldens_fine", "OroJaR", PATH)


def goldens_fine_small() -> SearchRecipe:
    """The small twin of orojar.goldens_fine."""
    return _biggan.small(goldens_fine())


def church_coarse() -> SearchRecipe:
    """40 directions for churches in latent components 0 to 39 of BigGAN (OroJaR's release, church coarse)."""
    return _biggan.search("orojar.church_coarse", "OroJaR", PATH)


def church_coarse_small() -> SearchRecipe:
    """The small twin of orojar.church_coarse."""
    return _biggan.small(church_coarse())


def church_mid() -> SearchRecipe:
    """40 directions for churches in latent components 40 to 79 of BigGAN (OroJaR's release, church mid)."""
    return _biggan.search("orojar.church_mid", "OroJaR", PATH)


def church_mid_small() -> SearchRecipe:
    """The small twin of orojar.church_mid."""
    return _biggan.small(church_mid())


def church_fine() -> SearchRecipe:
    """40 directions for churches in latent components 80 to 119 of BigGAN (OroJaR's release, church fine)."""
    return _biggan.search("orojar.church_fine", "OroJaR", PATH, UNNAMED)


def church_fine_small() -> SearchRecipe:
    """The small twin of orojar.church_fine."""
    return _biggan.small(church_fine())


def edges_shoes(*, way: Way = "scratch") -> Recipe:
    """ProGAN on edges and shoes, 128 px; with OroJaR, or one of the other three ways."""
    return _progan.full(RELEASE, "edges_shoes", 1e-5, way)


def edges_shoes_small(*, way: Way = "scratch") -> Recipe:
    """The small twin of orojar.edges_shoes: drawn scenes that grow to 32 px in minutes."""
    return _progan.small(RELEASE, "edges_shoes", 1e-5, way)


def clevr_simple(*, way: Way = "scratch") -> Recipe:
    """ProGAN on CLEVR-Simple, 128 px; with OroJaR, or one of the other three ways."""
    return _progan.full(RELEASE, "clevr_simple", 1e-6, way)


def clevr_simple_small(*, way: Way = "scratch") -> Recipe:
    """The small twin of orojar.clevr_simple: drawn scenes that grow to 32 px in minutes."""
    return _progan.small(RELEASE, "clevr_simple", 1e-6, way)


def clevr_complex(*, way: Way = "scratch") -> Recipe:
    """ProGAN on CLEVR-Complex, 128 px; with OroJaR, or one of the other three ways."""
    return _progan.full(RELEASE, "clevr_complex", 1e-5, way)


def clevr_complex_small(*, way: Way = "scratch") -> Recipe:
    """The small twin of orojar.clevr_complex: drawn scenes that grow to 32 px in minutes."""
    return _progan.small(RELEASE, "clevr_complex", 1e-5, way)


def clevr_u(*, way: Way = "scratch") -> Recipe:
    """ProGAN on CLEVR-Simple with 3 latents, 128 px; with OroJaR, or one of the other three ways."""
    return _progan.full(RELEASE, "clevr_u", 1e-4, way)


def clevr_u_small(*, way: Way = "scratch") -> Recipe:
    """The small twin of orojar.clevr_u: drawn scenes that grow to 32 px in minutes."""
    return _progan.small(RELEASE, "clevr_u", 1e-4, way)


def clevr_1fov(*, way: Way = "scratch") -> Recipe:
    """ProGAN on CLEVR-1FOV, 128 px; with OroJaR, or one of the other three ways."""
    return _progan.full(RELEASE, "clevr_1fov", 1e-4, way)


def clevr_1fov_small(*, way: Way = "scratch") -> Recipe:
    """The small twin of orojar.clevr_1fov: drawn scenes that grow to 32 px in minutes."""
    return _progan.small(RELEASE, "clevr_1fov", 1e-4, way)
