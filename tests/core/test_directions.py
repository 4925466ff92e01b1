"""Directions: a safetensors file and back, and what is refused."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import orthogen as og
from orthogen.core.directions import Directions

BASIS = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))


def test_round_trip(tmp_path):
    made = Directions(BASIS, "w", torch.tensor([3.0, 2.0, 1.0]), ("a", "ü", "c"), {"method": "sefa", "layers": [1, 2]})
    made.save(tmp_path / "deep" / "d.safetensors")
    read = Directions.load(tmp_path / "deep" / "d.safetensors")
    assert torch.equal(read.basis, made.basis)
    assert torch.equal(read.strength, made.strength)
    assert (read.space, read.names, read.provenance) == (made.space, made.names, made.provenance)
    assert len(read) == 3


def test_round_trip_of_the_least(tmp_path):
    Directions(BASIS.double().T[:, :2]).save(str(tmp_path / "d.safetensors"))  # neither contiguous nor float32
    read = Directions.load(str(tmp_path / "d.safetensors"))
    assert torch.equal(read.basis, BASIS.double().T[:, :2])
    assert read.strength is None
    assert (read.space, read.names, read.provenance) == ("z", tuple("01234"), {})


def test_coordinates_are_the_axes():
    axes = Directions.coordinates(4, "w")
    assert torch.equal(axes.basis, torch.eye(4))
    assert (axes.space, axes.names, axes.provenance) == ("w", tuple("0123"), {"method": "coordinates"})


def test_parameters_are_saved_as_values(tmp_path):
    Directions(BASIS.clone().requires_grad_()).save(tmp_path / "d.safetensors")
    assert not Directions.load(tmp_path / "d.safetensors").basis.requires_grad


def test_names_fit_the_basis():
    with pytest.raises(ValueError, match=r"^Directions: 2 names for 3 directions$"):
        Directions(BASIS, names=("a", "b"))


def test_no_directions_file(tmp_path):
    path = tmp_path / "d.safetensors"
    says = r"d.safetensors is not a directions file \(safetensors written by Directions.save\)$"
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match=says):
        Directions.load(path)
    save_file({"basis": BASIS}, path)  # without our metadata
    with pytest.raises(ValueError, match=says):
        Directions.load(path)
    save_file({"basis": BASIS}, path, metadata={"orthogen.directions": "{"})
    with pytest.raises(ValueError, match=says):
        Directions.load(path)
    about = json.dumps({"space": "z", "names": list("abc"), "provenance": {}})
    save_file({"matrix": BASIS}, path, metadata={"orthogen.directions": about})
    with pytest.raises(ValueError, match=says):
        Directions.load(path)
    Directions(BASIS).save(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=says):
        Directions.load(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.safetensors"):
        Directions.load(tmp_path / "no.safetensors")


# ------------------------------------------------------------------------------------------------ what they carry
def whole():
    return Directions(
        BASIS,
        strength=torch.tensor([3.0, 2.0, 1.0]),
        names=("a", "7", "c"),
        provenance={"method": "SeFa"},
        deviation=torch.tensor([1.0, 0.5, 2.0]),
        scores={"effect_size": [0.3, None, 0.1]},
    )


def test_scores_and_deviations_are_kept(tmp_path):
    whole().save(tmp_path / "d.safetensors")
    read = Directions.load(tmp_path / "d.safetensors")
    assert read.deviation.tolist() == [1.0, 0.5, 2.0]
    assert read.scores == {"effect_size": (0.3, None, 0.1)}


def test_a_file_from_before_they_had_scores(tmp_path):
    about = json.dumps({"space": "z", "names": list("abc"), "provenance": {}})
    save_file({"basis": BASIS}, tmp_path / "d.safetensors", metadata={"orthogen.directions": about})
    read = Directions.load(tmp_path / "d.safetensors")
    assert (read.deviation, read.scores) == (None, {})


def test_some_are_taken_with_all_that_is_known_of_them():
    some = whole().take(["c", 0])
    assert torch.equal(some.basis, BASIS[[2, 0]])
    assert (some.names, some.strength.tolist(), some.deviation.tolist()) == (("c", "a"), [1.0, 3.0], [2.0, 1.0])
    assert some.scores == {"effect_size": (0.1, 0.3)}
    assert whole().take([7]).names == ("7",)  # a name comes before a number
    assert whole().take(["1"]).names == ("7",)


def test_new_names():
    assert whole().renamed({"a": "pose", 2: "light"}).names == ("pose", "7", "light")
    with pytest.raises(ValueError, match=r"^every direction has a name of its own; 'c' is not$"):
        whole().renamed({0: "c"})
    with pytest.raises(ValueError, match="an empty one"):
        whole().renamed({0: ""})


@pytest.mark.parametrize("which", [3, -1, "pose", "-1", "1.0"])
def test_a_direction_that_is_not_there(which):
    with pytest.raises(ValueError, match=f"^there is no direction {which}; give 0 to 2, or by name: a, 7, c$"):
        whole().take([which])


def test_every_column_fits_the_basis():
    with pytest.raises(ValueError, match=r"^Directions: 1 activeness for 3 directions$"):
        Directions(BASIS, scores={"activeness": [0.0]})


def test_directions_of_another_generator_warn():
    ours, other = (og.adapt(nn.Linear(5, 2), og.Normal(5)) for _ in range(2))
    found = og.Coordinates().fit(ours)
    assert not found.of_another(ours)
    found.warn_if_of_another(ours)
    assert not Directions(BASIS).of_another(other)  # of unknown origin
    with pytest.warns(UserWarning, match="found by Coordinates in a generator with other weights; they may mean noth"):
        found.warn_if_of_another(other)


def test_directions_of_another_space_warn():
    G = og.adapt(nn.Linear(5, 2), og.Normal(5))
    with pytest.warns(UserWarning, match=r"of the space 'w', and this generator takes 'z'; .* \(--space w\)"):
        Directions(BASIS, "w").warn_if_of_another(G)
    model = og.StyleGan2(resolution=8, dim_z=4, dim_w=4, mapping_layers=1, channel_base=16, space="w")
    found = og.Coordinates().fit(model.adapt(model.build()["generator"]))
    assert found.space == "w"
