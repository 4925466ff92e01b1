"""The orthogonality papers: classifiers with a whitened stem, EigenGAN and the simple GAN.

The switches are independent: ``nog`` is the nearest orthogonal gradient, ``olr`` the optimal learning rate, ``ol`` the
soft penalty, ``ow`` orthogonal weights, ``sn`` the spectral norm: of the convolution before the whitening, of the bases
of EigenGAN, or of the simple GAN's first layer.
"""

from dataclasses import replace

from orthogen.data.anime_face import AnimeFace
from orthogen.data.celeba import CelebA
from orthogen.data.cifar import Cifar10, Cifar100
from orthogen.data.factor_classes import FactorClasses
from orthogen.data.ffhq import Ffhq
from orthogen.data.lsun import Lsun
from orthogen.data.shapes3d import Shapes3d
from orthogen.models.decorrelated_resnet import DecorrelatedResNet
from orthogen.models.eigengan import EigenGan
from orthogen.recipes._cifar import Norm, classifier, smaller, stem
from orthogen.recipes._orthogonal_gans import Switches, eigengan, large_simple, small_eigengan, small_simple
from orthogen.training.recipe import ClassifierRecipe, Recipe

__all__ = [
    "cifar10",
    "cifar10_small",
    "cifar100",
    "cifar100_small",
    "eigengan_animeface",
    "eigengan_animeface_small",
    "eigengan_ffhq",
    "eigengan_ffhq_small",
    "simple_celeba",
    "simple_celeba_small",
    "simple_lsun_church",
    "simple_lsun_church_small",
]

FACES = 202_599  # images of CelebA, an epoch
CHURCHES = 126_227  # images of LSUN's church_outdoor, an epoch


def cifar10(
    *,
    norm: Norm = "zca",
    nog: bool = False,
    olr: bool = False,
    ow: bool = False,
    ol: bool = False,
    sn: bool = False,
) -> ClassifierRecipe:
    """ResNet-18 on CIFAR-10 with ZCA whitening, or batch norm, after its stem."""
    model = DecorrelatedResNet(depth=18, classes=10, norm=norm, stem=stem(ow=ow, sn=sn))
    data = Cifar10(flip=False)
    test = replace(data, split="test")
    return classifier("orthogonality.cifar10", model, data, test, nog=nog, olr=olr, ol=ol)


def cifar10_small(
    *,
    norm: Norm = "zca",
    nog: bool = False,
    olr: bool = False,
    ow: bool = False,
    ol: bool = False,
    sn: bool = False,
) -> ClassifierRecipe:
    """The small twin of orthogonality.cifar10: sizes of drawn solids, a net of three blocks, minutes on two cores."""
    full = cifar10(norm=norm, nog=nog, olr=olr, ow=ow, ol=ol, sn=sn)
    return smaller(full, "cifar10", FactorClasses(Shapes3d(resolution=16), "scale", part="train"))


def cifar100(
    *,
    norm: Norm = "zca",
    nog: bool = False,
    olr: bool = False,
    ow: bool = False,
    ol: bool = False,
    sn: bool = False,
) -> ClassifierRecipe:
    """ResNet-50 on CIFAR-100 with ZCA whitening, or batch norm, after its stem."""
    model = DecorrelatedResNet(depth=50, classes=100, norm=norm, stem=stem(ow=ow, sn=sn))
    data = Cifar100(flip=False)
    test = replace(data, split="test")
    return classifier("orthogonality.cifar100", model, data, test, nog=nog, olr=olr, ol=ol)


def cifar100_small(
    *,
    norm: Norm = "zca",
    nog: bool = False,
    olr: bool = False,
    ow: bool = False,
    ol: bool = False,
    sn: bool = False,
) -> ClassifierRecipe:
    """The small twin of orthogonality.cifar100: angles of drawn solids, three bottlenecks, minutes on two cores."""
    full = cifar100(norm=norm, nog=nog, olr=olr, ow=ow, ol=ol, sn=sn)
    return smaller(full, "cifar100", FactorClasses(Shapes3d(resolution=16), "orientation", part="train"))


def eigengan_ffhq(*, nog: bool = True, olr: bool = False, ol: bool = False, ow: bool = False) -> Recipe:
    """EigenGAN on FFHQ, 256 px, with NOG on the bases of its six layers."""
    model = EigenGan(resolution=256)
    return eigengan("orthogonality.eigengan_ffhq", model, Ffhq(), Switches(nog, olr, ol, ow))


def eigengan_ffhq_small(*, nog: bool = True, olr: bool = False, ol: bool = False, ow: bool = False) -> Recipe:
    """The small twin of orthogonality.eigengan_ffhq: drawn scenes, 32 px, minutes on two cores."""
    return small_eigengan("orthogonality.eigengan_ffhq_small", 32, Switches(nog, olr, ol, ow))


def eigengan_animeface(*, nog: bool = True, olr: bool = False, ol: bool = False, ow: bool = False) -> Recipe:
    """EigenGAN on AnimeFace, 128 px, with NOG on the bases of its five layers."""
    batch = "The released default is batches of 128, its script for this set has 64, as here."
    model = EigenGan(resolution=128)
    return eigengan("orthogonality.eigengan_animeface", model, AnimeFace(), Switches(nog, olr, ol, ow), batch)


def eigengan_animeface_small(*, nog: bool = True, olr: bool = False, ol: bool = False, ow: bool = False) -> Recipe:
    """The small twin of orthogonality.eigengan_animeface: drawn scenes, 16 px, minutes on two cores."""
    return small_eigengan("orthogonality.eigengan_animeface_small", 16, Switches(nog, olr, ol, ow))


def simple_celeba(*, nog: bool = True, olr: bool = False, ol: bool = False, ow: bool = False) -> Recipe:
    """The simple GAN on CelebA, 128 px, with NOG on its first layer."""
    raw = "CelebA's images of 178 x 218 pixels, of which training sees 170 x 170"
    return large_simple("orthogonality.simple_celeba", CelebA(), FACES, Switches(nog, olr, ol, ow), raw)


def simple_celeba_small(*, nog: bool = True, olr: bool = False, ol: bool = False, ow: bool = False) -> Recipe:
    """The small twin of orthogonality.simple_celeba: drawn scenes, 32 px, minutes on two cores."""
    return small_simple("orthogonality.simple_celeba_small", 32, Switches(nog, olr, ol, ow))


def simple_lsun_church(*, nog: bool = True, olr: bool = False, ol: bool = False, ow: bool = False) -> Recipe:
    """The simple GAN on LSUN's outdoor churches, 128 px, with NOG on its first layer."""
    raw = "JPEG files of the training images"
    return large_simple("orthogonality.simple_lsun_church", Lsun(), CHURCHES, Switches(nog, olr, ol, ow), raw)


def simple_lsun_church_small(*, nog: bool = True, olr: bool = False, ol: bool = False, ow: bool = False) -> Recipe:
    """The small twin of orthogonality.simple_lsun_church: drawn scenes, 16 px, minutes on two cores."""
    return small_simple("orthogonality.simple_lsun_church_small", 16, Switches(nog, olr, ol, ow))
