import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import orthogen as og
from eigen_nets import SMALL, golden_eigengan, released
from orthogen.core.kinds import CriticBatch
from orthogen.core.record import from_json, to_json
from orthogen.discovery.coordinates import Coordinates
from orthogen.layers.subspace import SubspaceLayer
from vectors import vectors


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="module")
def golden():
    return golden_eigengan()


def close(actual, expected, rtol=1e-5, atol=1e-6):
    torch.testing.assert_close(actual, torch.as_tensor(expected), rtol=rtol, atol=atol)


# ---------------------------------------------------------------------------------------------- the released networks
def test_images_and_gradients_equal_the_golden_file(golden):
    generator = released(golden)["generator"]
    images = generator(golden["z"])
    close(images[:2], golden["images"])
    (images * golden["cot"]).sum().backward()
    assert sum(name.startswith("gradnorm.") for name in golden) == len(list(generator.parameters()))
    for name, parameter in generator.named_parameters():
        close(parameter.grad.norm(), golden[f"gradnorm.{name}"], rtol=1e-4)
    for i, name in enumerate(SMALL.subspaces):
        close(generator.get_parameter(name).grad, vectors("eigengan_nog")[f"gradient{i}"], rtol=1e-4, atol=1e-5)


def test_logits_and_their_image_gradient_equal_the_golden_file(golden):
    critic = released(golden)["critic"]
    close(critic(golden["x"]), golden["out"])
    batch = CriticBatch(golden["x"], golden["x"], golden["out"], golden["out"])
    close(og.R1(gamma=2.0)(critic, batch), golden["r1"], rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("resolution", "counts", "dims"),
    [
        (128, [10_262_529, 8_915_985], [8192, 16384, 32768, 65536, 131072]),
        (256, [22_994_951, 13_635_601], [8192, 32768, 65536, 131072, 262144, 524288]),
    ],
)
def test_sizes_are_the_published_ones(resolution, counts, dims):
    with torch.device("meta"):
        networks = og.EigenGan(resolution=resolution).build()
    assert [sum(p.numel() for p in net.parameters()) for net in networks.values()] == counts
    assert [subspace.U.shape for subspace in networks["generator"].subspaces] == [(6, dim) for dim in dims]


@pytest.mark.parametrize("resolution", [8, 32])
@torch.no_grad()
def test_other_resolutions(resolution):
    model = og.EigenGan(resolution=resolution, channels=1, n_basis=4, noise_dim=5, base_channels=3, max_channels=7)
    networks = model.build()
    images = model.adapt(networks["generator"]).sample(2, rng=torch.Generator().manual_seed(0))
    assert images.shape == (2, 1, resolution, resolution)
    assert networks["critic"](images).shape == (2, 1)
    assert from_json(to_json(model)) == model


# ---------------------------------------------------------------------------------------------- subspaces
@given(n_basis=st.integers(1, 8), dim=st.integers(8, 40), seed=st.integers(0, 9))
def test_a_subspace_starts_orthonormal_with_reaches_in_steps_of_three(n_basis, dim, seed):
    torch.manual_seed(seed)
    layer = SubspaceLayer(n_basis, dim).double()
    close(layer.U @ layer.U.T, torch.eye(n_basis, dtype=torch.float64), atol=1e-5)
    assert layer.L.tolist() == [3.0 * (n_basis - j) for j in range(n_basis)]
    close(layer.reach, layer.L.abs())
    z = torch.randn(3, n_basis, dtype=torch.float64)
    layer.mu.data.normal_()
    expected = layer.mu + sum(layer.L[j] * z[:, j : j + 1] * layer.U[j] for j in range(n_basis))
    close(layer(z), expected)
    assert torch.autograd.gradcheck(layer, z.requires_grad_())


def test_soft_orthogonality_finds_the_bases(golden):
    generator, penalty = SMALL.adapt(released(golden)["generator"]), og.SoftOrthogonality(SMALL.subspaces)
    assert penalty(generator).item() < 1e-12  # 9e-15 in the released code
    perturbed = vectors("eigengan_orthreg")
    for i, name in enumerate(SMALL.subspaces):
        generator.module.get_parameter(name).data = torch.from_numpy(perturbed[f"U{i}"])
    close(penalty(generator), perturbed["reg"])


def test_step_rules_find_the_bases_and_nothing_else():
    model = og.EigenGan(resolution=32, n_basis=2, noise_dim=4, base_channels=2, max_channels=4)
    generator = model.build()["generator"]
    for rule in (og.NearestOrthogonalGradient(model.subspaces), og.OptimalLearningRate(model.subspaces)):
        assert tuple(rule.bind(generator).parameters) == model.subspaces


# ---------------------------------------------------------------------------------------------- directions
def test_directions_are_its_coordinates_strongest_first_in_each_layer(golden):
    generator = released(golden)["generator"]
    first = generator.blocks[0].projection
    first.L.data = torch.tensor([1.0, -5.0, 2.0])
    first.U.data[2] *= 10  # U and L share the scale: only the product means anything
    found = SMALL.directions(generator)
    assert found.names == tuple([f"layer 0, dim {j}" for j in (2, 1, 0)] + [f"layer 1, dim {j}" for j in (0, 1, 2)])
    close(found.strength, torch.tensor([20.0, 5.0, 1.0, 9.0, 6.0, 3.0]), rtol=1e-4)
    assert found.deviation.tolist() == [1.0] * 6
    axes = torch.eye(SMALL.latent.dim)
    assert torch.equal(found.take(["layer 0, dim 1", "layer 1, dim 2"]).basis, axes[[8 + 1, 8 + 3 + 2]])
    assert not found.of_another(SMALL.adapt(generator))
    assert found.of_another(SMALL.adapt(SMALL.build()["generator"]))


@torch.no_grad()
def test_a_direction_moves_its_own_layer_and_what_follows(golden):
    generator = SMALL.adapt(released(golden)["generator"])
    found = SMALL.directions(generator.module)
    layers = ("blocks.0.projection", "blocks.1.projection", "blocks.0", "to_rgb")
    f = og.probe(generator, layers)
    before, after = f(golden["z"]), f(golden["z"] + 2 * found.take(["layer 1, dim 0"]).basis)
    change = dict(zip(layers, (b - a for a, b in zip(before, after, strict=True)), strict=True))
    assert not change["blocks.0.projection"].any()
    assert not change["blocks.0"].any()
    subspace = generator.module.blocks[1].projection
    close(change["blocks.1.projection"], (2 * subspace.L[0] * subspace.U[0]).expand(5, -1), atol=1e-5)
    assert change["to_rgb"].abs().amax() > 1e-3


def test_coordinates_of_a_block_are_its_directions(golden):
    generator = SMALL.adapt(released(golden)["generator"])
    assert list(generator.latent.slices) == ["epsilon", "layer0", "layer1"]
    rows = Coordinates().fit(generator).basis[generator.latent.slices["layer1"]]
    found = SMALL.directions(generator.module).take([f"layer 1, dim {j}" for j in range(3)])
    assert torch.equal(rows, found.basis)


def test_without_directions_its_own_are_traversed(tmp_path, golden):
    generator = SMALL.adapt(released(golden)["generator"])
    strip, _ = og.traverse(generator, to=tmp_path / "own", rows=6, samples=1, steps=3, contact=False)
    found = SMALL.directions(generator.module)
    same, _ = og.traverse(generator, found, to=tmp_path / "given", samples=1, steps=3, contact=False)
    assert strip.read_bytes() == same.read_bytes()
    assert og.adapt(generator.module, generator.latent).own is None


def test_directions_traverse(tmp_path, golden):
    generator = SMALL.adapt(released(golden)["generator"])
    found = SMALL.directions(generator.module)
    path = tmp_path / "directions.safetensors"
    found.save(path)
    read = og.Directions.load(path)
    assert read.names == found.names
    found_active = og.Activeness(samples=8)(generator, read, rng=torch.Generator().manual_seed(0))
    assert len(found_active.parts["activeness"]) == 6
    (strip,) = og.traverse(
        generator, read, only=["layer 1, dim 0"], to=tmp_path, samples=1, steps=3, gif=False, contact=False
    )
    assert strip.name == "eigengan.png"


def test_a_latent_of_another_width_is_refused(golden, unchecked):
    with pytest.raises(ValueError, match=r"the latent is 13 wide, the blocks need 14"):
        released(golden)["generator"](torch.zeros(2, 13))


# ---------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resolution": 4}, r"EigenGan\(resolution=4\): the side is 4·2\^n pixels; give 8, 16, 32, 64, 128, ..."),
        ({"resolution": 100}, r"EigenGan\(resolution=100\): the side is 4·2\^n pixels"),
        ({"noise_dim": 0}, r"EigenGan\(noise_dim=0\): it must be positive"),
        (
            {"base_channels": 16, "max_channels": 8},
            r"EigenGan\(base_channels=16, max_channels=8\): the most channels cannot be fewer than those",
        ),
        ({"n_basis": 0}, r"EigenGan\(n_basis=0\): give 1 to 8192 directions, the dimensions of its smallest layer"),
        ({"n_basis": 17, "base_channels": 1, "max_channels": 1}, r"give 1 to 16 directions"),
    ],
)
def test_what_cannot_be_built_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        og.EigenGan(**fields)


def test_a_subspace_of_more_directions_than_dimensions_is_refused():
    with pytest.raises(ValueError, match=r"SubspaceLayer\(n_basis=5, dim=4\): give 1 to 4 directions"):
        SubspaceLayer(5, 4)


def test_directions_of_another_network_are_refused():
    with pytest.raises(TypeError, match=r"EigenGan.directions was given Linear; give the generator it built"):
        og.EigenGan.directions(nn.Linear(2, 2))
