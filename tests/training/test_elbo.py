"""The bound and the parts of its divergence, against distributions of torch and closed forms."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

import orthogen as og
from orthogen.training.elbo import decomposed, divergence

double = {"dtype": torch.float64}


def posteriors(n: int, dim: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Codes, means and log variances of no special form."""
    mean, log_variance, noise = torch.randn(3, n, dim, generator=rng, **double)
    return mean + (log_variance / 2).exp() * noise, mean, log_variance


def test_the_divergence_is_torchs(rng):
    _, mean, log_variance = posteriors(7, 4, rng)
    zero, one = torch.zeros((), **double), torch.ones((), **double)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(zero, one))
    torch.testing.assert_close(divergence(mean, log_variance), expected)


def test_errors_are_the_likelihoods_of_torch(rng):
    logits = 3 * torch.randn(5, 3, 4, 4, generator=rng, **double)
    binary = (torch.rand(5, 3, 4, 4, generator=rng, **double) < 0.5).double()
    expected = -Bernoulli(logits=logits).log_prob(binary).sum((1, 2, 3))
    torch.testing.assert_close(og.Elbo().errors(logits, 2 * binary - 1), expected)
    gray = torch.rand(5, 3, 4, 4, generator=rng, **double)
    constant = 48 * math.log(2 * math.pi) / 2
    expected = -Normal(logits.sigmoid(), 1.0).log_prob(gray).sum((1, 2, 3)) - constant
    torch.testing.assert_close(og.Elbo(reconstruction="gaussian").errors(logits, 2 * gray - 1), expected)


@pytest.mark.parametrize("reconstruction", ["bernoulli", "gaussian"])
def test_no_mean_is_better_than_the_image_itself(reconstruction, rng):
    gray = 0.1 + 0.8 * torch.rand(5, 1, 4, 4, generator=rng, **double)
    elbo, logits = og.Elbo(reconstruction=reconstruction), gray.logit().requires_grad_()
    (slope,) = torch.autograd.grad(elbo.errors(logits, 2 * gray - 1).sum(), logits)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-12, rtol=0)


def test_the_three_parts_add_up_to_the_sampled_divergence(rng):
    z, mean, log_variance = posteriors(16, 5, rng)
    own = Normal(mean, (log_variance / 2).exp()).log_prob(z).sum(1)
    prior = Normal(torch.zeros((), **double), torch.ones((), **double)).log_prob(z).sum(1)
    torch.testing.assert_close(torch.stack(decomposed(z, mean, log_variance)).sum(), (own - prior).mean())


def test_one_latent_has_no_total_correlation(rng):
    assert decomposed(*posteriors(9, 1, rng))[1].item() == pytest.approx(0.0, abs=1e-12)


def test_a_large_sample_of_normal_codes_has_the_parts_of_the_closed_forms():
    """Means of N(0, S) and posteriors of variance v: the aggregated posterior is N(0, S + v I)."""
    rng = torch.Generator().manual_seed(3)
    S, v = torch.tensor([[1.0, 0.8], [0.8, 1.5]], **double), 0.3
    total = S + v * torch.eye(2, **double)
    variances = total.diagonal()
    exact = (
        (total.logdet() - 2 * math.log(v)) / 2,
        (variances.log().sum() - total.logdet()) / 2,
        ((variances - 1 - variances.log()) / 2).sum(),
    )
    found = []
    for _ in range(4):
        mean = torch.randn(1200, 2, generator=rng, **double) @ torch.linalg.cholesky(S).T
        z = mean + v**0.5 * torch.randn(1200, 2, generator=rng, **double)
        found.append(torch.stack(decomposed(z, mean, torch.full_like(mean, math.log(v)))))
    means = torch.stack(found).mean(0)
    torch.testing.assert_close(means, torch.stack(exact), atol=0.03, rtol=0)
    assert exact[1] > 0.15  # none of them is small against the tolerance


def test_what_a_small_batch_cannot_show_of_the_information_is_in_the_correlation():
    rng = torch.Generator().manual_seed(0)
    mean = torch.randn(32, 10, generator=rng, **double)  # independent latents of narrow posteriors
    index_code, correlation, _ = decomposed(mean, mean, torch.full_like(mean, -8.0))
    assert index_code.item() == pytest.approx(math.log(32), abs=0.01)
    assert correlation > 5  # of 0


def test_the_papers_weights_move_the_estimate_by_a_constant_alone(rng):
    """Chen et al., eq. 3, written out as it stands there, for a data set of N images."""
    z, mean, log_variance = (x.requires_grad_() for x in posteriors(6, 3, rng))
    N, M, dim = 1000, 6, 3
    q = Normal(mean, (log_variance / 2).exp())
    theirs = torch.zeros((), **double)
    for n in range(M):
        densities = q.log_prob(z[n]).exp()
        joint = (densities.prod(1).sum() / (N * M)).log()
        marginals = (densities.sum(0) / (N * M)).log()
        theirs = theirs + (joint - marginals.sum()) / M
    ours = decomposed(z, mean, log_variance)[1]
    assert (theirs - ours).item() == pytest.approx((dim - 1) * math.log(N))
    for a, b in zip(*(torch.autograd.grad(x, (z, mean, log_variance)) for x in (theirs, ours)), strict=True):
        torch.testing.assert_close(a, b)


def sampled(elbo: og.Elbo, images: Tensor, weight: Tensor, mean: Tensor, log_variance: Tensor, draws: int) -> Tensor:
    """Losses, and weighted sums of the four summands, for many draws of the codes: (draws, 2)."""
    rng = torch.Generator().manual_seed(1)
    found = []
    for _ in range(draws):
        z = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=rng, **double)
        parts = elbo.parts((z @ weight).view(images.shape), images, z, mean, log_variance)
        b = 1 + elbo.total_correlation
        summands = parts.error + parts.index_code + b * parts.total_correlation + parts.dimension_wise
        found.append(torch.stack([elbo.loss(parts), summands]))
    return torch.stack(found)


@pytest.mark.parametrize("b", [1.0, 6.0])
def test_in_expectation_the_loss_is_the_paper_s_sum_of_four(b, rng):
    """beta-TC-VAE weights the total correlation alone by b; at b = 1 the sum is the negative bound."""
    _, mean, log_variance = posteriors(5, 3, rng)
    images, weight = (
        torch.rand(5, 1, 4, 4, generator=rng, **double) * 2 - 1,
        torch.randn(3, 16, generator=rng, **double),
    )
    both = sampled(og.Elbo(total_correlation=b - 1), images, weight, mean, log_variance, 400)
    gap = both[:, 0] - both[:, 1]
    assert abs(gap.mean()) < 4 * gap.std() / 20
    assert gap.std() > 0.1  # draw by draw they differ: here the divergence is exact


def test_beta_weights_the_divergence_and_nothing_else(rng):
    z, mean, log_variance = posteriors(5, 3, rng)
    logits, images = torch.randn(2, 5, 1, 4, 4, generator=rng, **double)
    losses = [
        og.Elbo(beta).loss(og.Elbo(beta).parts(logits, images, z, mean, log_variance)) for beta in (0.0, 1.0, 4.0)
    ]
    kl = divergence(mean, log_variance).sum(1).mean()
    assert (losses[1] - losses[0]).item() == pytest.approx(kl.item())
    assert (losses[2] - losses[0]).item() == pytest.approx(4 * kl.item())


@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_the_correlation_has_gradients_only_where_it_counts(weight, rng):
    z, mean, log_variance = (x.requires_grad_() for x in posteriors(4, 3, rng))
    zeros = torch.zeros(4, 1, 4, 4, **double)
    parts = og.Elbo(total_correlation=weight).parts(zeros, zeros, z, mean, log_variance)
    assert parts.total_correlation.requires_grad == bool(weight)


def test_what_is_no_bound_is_refused(unchecked):
    with pytest.raises(ValueError, match=r"Elbo\(beta=-1.0\): the weight of the divergence cannot be negative; 1 is"):
        og.Elbo(beta=-1.0)
    with pytest.raises(ValueError, match=r"Elbo\(beta=nan\)"):
        og.Elbo(beta=float("nan"))
    with pytest.raises(ValueError, match=r"Elbo\(total_correlation=nan\): give a number; 0 is the VAE"):
        og.Elbo(total_correlation=float("nan"))
    with pytest.raises(ValueError, match=r"Elbo\(reconstruction='l1'\): 'bernoulli' or 'gaussian' is accepted"):
        og.Elbo(reconstruction="l1")  # type: ignore[arg-type]
