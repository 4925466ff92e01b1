import pytest
import torch
from torch import nn

from orthogen.layers.instance_norm import InstanceNorm2d

# torch's own forward mode says so when it is first used
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:FutureWarning")


def filled(norm, seed=0):
    """Weight and bias that are not 1 and 0."""
    rng = torch.Generator().manual_seed(seed)
    for parameter in norm.parameters():
        parameter.data = torch.randn(parameter.shape, generator=rng, dtype=parameter.dtype)
    return norm


def test_has_the_values_and_the_names_of_torch(rng):
    ours, theirs = filled(InstanceNorm2d(5)), nn.InstanceNorm2d(5, eps=1e-6, affine=True)
    theirs.load_state_dict(ours.state_dict())
    x = 3 * torch.randn(4, 5, 7, 6, generator=rng) + 2
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_backward_twice_is_right(rng):
    norm = InstanceNorm2d(3).double()
    x = torch.randn(2, 3, 3, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, x)
    assert torch.autograd.gradgradcheck(norm, x)


def gradient_errors(norm, rng):
    """Relative errors of the gradient of |J v|^4 through a forward-mode J v, below and in the norm.

    The reference is double backward.
    """
    weight = torch.randn(48, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    z, v = torch.randn(2, 2, 4, generator=rng, dtype=torch.float64).unbind(0)

    def f(z):
        return norm((z @ weight.T).reshape(-1, 3, 4, 4)).flatten(1)

    learned = (weight, norm.weight)
    _, forward = torch.func.jvp(f, (z,), (v,))
    gradients = torch.autograd.grad(forward.square().sum().square(), learned)

    z = z.requires_grad_()
    rows = [torch.autograd.grad(out, z, create_graph=True)[0] for out in f(z).sum(0)]
    backward = torch.stack([(row * v).sum(1) for row in rows], dim=1)
    expected = torch.autograd.grad(backward.square().sum().square(), learned)
    torch.testing.assert_close(forward, backward)  # the value is right in any case
    return [((a - b).norm() / b.norm()).item() for a, b in zip(gradients, expected, strict=True)]


def test_reverse_over_forward_equals_double_backward(rng):
    assert max(gradient_errors(filled(InstanceNorm2d(3).double()), rng)) < 1e-12


def test_forward_over_forward_is_the_second_derivative(rng):
    norm = filled(InstanceNorm2d(3).double())
    weight = torch.randn(48, 4, generator=rng, dtype=torch.float64)
    z, v = torch.randn(2, 1, 4, generator=rng, dtype=torch.float64).unbind(0)

    def f(z):
        return norm((z @ weight.T).reshape(-1, 3, 4, 4))

    def along(z):
        return torch.func.jvp(f, (z,), (v,))[1]

    step = 1e-4
    difference = (along(z + step * v) - along(z - step * v)) / (2 * step)
    torch.testing.assert_close(torch.func.jvp(along, (z,), (v,))[1], difference, rtol=1e-6, atol=1e-6)


def test_the_norm_of_torch_is_why_this_file_exists(rng):
    theirs = filled(nn.InstanceNorm2d(3, eps=1e-6, affine=True).double())
    if max(gradient_errors(theirs, rng)) < 1e-6:
        pytest.skip(f"torch {torch.__version__} differentiates nn.InstanceNorm2d rightly")
    assert max(gradient_errors(theirs, rng)) > 0.05  # and no error was raised


def test_one_pixel_is_refused():
    with pytest.raises(ValueError, match=r"one pixel per channel \(2, 3, 1, 1\); it needs two at least"):
        InstanceNorm2d(3)(torch.zeros(2, 3, 1, 1))
