"""`discover`: methods by name, value or recipe; files in the run folder; searches that go on where they were."""

import json
import os
import signal

import pytest
import torch
from torch import nn

import orthogen as og
from orthogen.checkpoints import save_generator
from orthogen.core import rng as randomness
from orthogen.discovery.penalty_descent import PenaltyDescent
from orthogen.discovery.sefa import SeFa
from orthogen.evaluation import discover
from orthogen.evaluation.discovering import named_methods
from orthogen.recipes import hessian_penalty, orojar


def linear():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(6, 48), nn.Tanh(), nn.Unflatten(1, (3, 4, 4)))
    return og.adapt(module, og.Normal(6))


def conditional(classes=5):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.ModuleList([nn.Embedding(classes, 4), nn.Linear(4, 12)])
    return og.adapt(module, og.Normal(4), lambda m, z, label: torch.tanh(m[1](z * (1 + m[0](label)))), classes)


@pytest.fixture
def file(tmp_path):
    model = og.PlantedLinear(og.Normal(4), resolution=8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_generator(tmp_path / "g.safetensors", model, model.build()["generator"])
    return tmp_path / "g.safetensors"


# ---------------------------------------------------------------------------------------------- methods and files
def test_each_method_has_a_file_beside_the_generator(file):
    found = discover(file, ["SeFa", "random", og.Coordinates()], quiet=True)
    folder = file.parent / "directions"
    assert sorted(path.name for path in folder.iterdir()) == [
        "Coordinates.safetensors", "Random.safetensors", "SeFa.safetensors",
    ]  # fmt: skip
    G = og.load(file)
    for each, name in zip(found, ["SeFa", "Random", "Coordinates"], strict=True):
        read = og.Directions.load(folder / f"{name}.safetensors")
        assert torch.equal(read.basis, each.basis)
        assert read.provenance["method"] == name
        assert read.provenance["seed"] == 0
        assert not read.of_another(G)
        torch.testing.assert_close(read.deviation, torch.ones(4))


def test_it_finds_what_the_method_alone_finds(file):
    (found,) = discover(file, "JacobianSvd", seed=3, quiet=True, save=False)
    alone = og.JacobianSvd().fit(og.load(file), rng=randomness.generator(3, "discover", "JacobianSvd"))
    assert torch.equal(found.basis, alone.basis)
    assert not (file.parent / "directions").exists()


def test_a_generator_in_memory_leaves_no_files_unless_told_where(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    discover(linear(), "SeFa", quiet=True)
    assert list(tmp_path.iterdir()) == []
    discover(linear(), {"first": SeFa(layers=("0",)), "all": SeFa()}, to=tmp_path / "x", quiet=True)
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["all.safetensors", "first.safetensors"]


def test_count_holds_for_every_method():
    G = linear()
    methods = ["SeFa", "Coordinates", "Random", PenaltyDescent(steps=2, batch=2)]
    assert [len(found) for found in discover(G, methods, count=2, quiet=True)] == [2, 2, 2, 2]
    with pytest.raises(ValueError, match=r"SeFa\(count=7\): this generator has 1 to 6 directions"):
        discover(G, "SeFa", count=7, quiet=True)
    with pytest.raises(ValueError, match="count=0: ask for at least one direction"):
        discover(G, "SeFa", count=0)


def test_one_class_for_all_samples():
    G = conditional()
    drawn, fixed, other = (discover(G, "JacobianSvd", fix_class=c, quiet=True)[0] for c in (None, 1, 2))
    assert fixed.provenance["settings"]["fix_class"] == 1
    assert not torch.allclose(drawn.strength, fixed.strength)
    assert not torch.allclose(other.strength, fixed.strength)
    with pytest.raises(ValueError, match="class 5 was asked for; this generator has the classes 0 to 4"):
        discover(G, "Random", fix_class=5)
    with pytest.raises(ValueError, match="takes no class labels"):
        discover(linear(), "Random", fix_class=0)


def test_names_that_a_person_gave_outlive_the_same_search(file):
    discover(file, "SeFa", quiet=True)
    path = file.parent / "directions" / "SeFa.safetensors"
    og.Directions.load(path).renamed({1: "size"}).save(path)
    (found,) = discover(file, "SeFa", quiet=True)
    assert found.names == og.Directions.load(path).names == ("0", "size", "2", "3")
    with pytest.warns(UserWarning, match=r"SeFa.safetensors held other directions, .* now in .*SeFa.1.safetensors"):
        (other,) = discover(file, "SeFa", count=2, quiet=True)  # of other directions nothing is known
    assert other.names == ("0", "1")
    assert og.Directions.load(path.with_name("SeFa.1.safetensors")).names == found.names
    discover(file, "SeFa", count=3, quiet=True)  # nobody named those
    assert len(list(path.parent.iterdir())) == 2


@pytest.mark.parametrize(
    ("methods", "error", "message"),
    [
        ("SeFaa", ValueError, r"nothing here is called 'SeFaa'; nearest: SeFa \(orthogen list discovery shows all\)"),
        ("orojar.goldens", ValueError, "no recipe for a search is called 'orojar.goldens'"),
        ("orojar.sprites", ValueError, "no recipe for a search is called 'orojar.sprites'"),
        ([og.OroJaR()], TypeError, "takes ways to find directions, such as SeFa"),
        ([], ValueError, "name a way to find directions"),
        ([SeFa(), SeFa(count=2)], ValueError, r"SeFa is given twice; name them, as in \{'a': SeFa\(...\)"),
        ({"a/b": SeFa()}, ValueError, "'a/b' is no name for a file"),
        ({"": SeFa()}, ValueError, "'' is no name for a file"),
    ],
)
def test_what_is_no_method_is_refused(unchecked, methods, error, message):
    with pytest.raises(error, match=message) as caught:
        discover(linear(), methods)
    assert "\n" not in str(caught.value)


def test_methods_by_name_class_and_value():
    assert named_methods(["sefa", PenaltyDescent, og.Random(3)]) == {
        "SeFa": SeFa(), "PenaltyDescent": PenaltyDescent(), "Random": og.Random(3),
    }  # fmt: skip
    assert named_methods("orojar.church_mid") == {"orojar.church_mid": orojar.church_mid()}


# ---------------------------------------------------------------------------------------------- recipes
def test_a_recipe_runs_under_its_own_name(tmp_path):
    recipe = hessian_penalty.goldens_mid_small()
    G = recipe.model.adapt(recipe.model.build()["generator"].eval())
    (found,) = discover(G, recipe.name, to=tmp_path, quiet=True)
    assert (tmp_path / "hessian_penalty.goldens_mid_small.safetensors").is_file()
    assert found.provenance["recipe"] == recipe.name
    assert found.provenance["settings"]["penalty"] == "HessianPenalty"
    assert found.basis.any(dim=0).nonzero().flatten().tolist() == list(range(8, 12))
    with pytest.raises(ValueError, match=r"hessian_penalty.goldens_mid is for a BigGan with 120 latent components"):
        discover(G, "hessian_penalty.goldens_mid")


# ---------------------------------------------------------------------------------------------- interruption
METHODS = {
    "PenaltyDescent": PenaltyDescent("HessianPenalty", base="random", steps=7, batch=4, count=3),
    "LatentRegressor": og.LatentRegressor(steps=7, batch=4, width=2, hidden=4),
    "VariationDirections": og.VariationDirections(steps=7, batch=4),
}


def content(folder):
    """What all files below a folder hold."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", METHODS)
def test_a_search_that_was_told_to_stop_goes_on_to_the_last_bit(name, tmp_path):
    G, method = linear(), METHODS[name]
    discover(G, method, to=tmp_path / "through", quiet=True)
    seen = []

    def stop(search):
        seen.append(len(search.log))
        if len(search.log) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        discover(G, method, to=tmp_path / "stopped", each=stop, quiet=True)
    assert seen == [1, 2, 3]
    assert not (tmp_path / "stopped" / f"{name}.safetensors").exists()
    discover(G, method, to=tmp_path / "stopped", each=stop, quiet=True)
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    files = content(tmp_path / "through")
    assert sorted(files) == [f"{name}.safetensors", f"searches/{name}.jsonl", f"searches/{name}.safetensors"]
    assert content(tmp_path / "stopped") == files


def test_a_search_that_was_killed_goes_on_from_what_it_had_written(tmp_path):
    G, method = linear(), METHODS["PenaltyDescent"]
    discover(G, method, to=tmp_path / "through", quiet=True)

    def die(search):
        if len(search.log) == 6:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        discover(G, method, to=tmp_path / "cut", save_every=2, each=die, quiet=True)
    log = (tmp_path / "cut" / "searches" / "PenaltyDescent.jsonl").read_text()
    taken = [json.loads(line)["step"] for line in log.splitlines()]
    assert taken == [1, 2, 3, 4]
    discover(G, method, to=tmp_path / "cut", save_every=3, quiet=True)
    assert content(tmp_path / "cut") == content(tmp_path / "through")


def test_the_log_has_penalty_and_norm_of_each_step(tmp_path):
    (found,) = discover(linear(), METHODS["PenaltyDescent"], to=tmp_path, quiet=True)
    lines = [json.loads(line) for line in (tmp_path / "searches" / "PenaltyDescent.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6, 7]
    assert [line["loss"] for line in lines] == found.provenance["log"]["loss"]
    assert [line["norm"] for line in lines] == found.provenance["log"]["norm"]


def test_more_steps_may_be_taken_later(tmp_path):
    G, steps = linear(), []

    def count(search):
        steps.append(len(search.log))

    for n in (3, 3, 5):
        discover(G, PenaltyDescent(steps=n, batch=4), to=tmp_path, each=count, quiet=True)
    assert steps == [1, 2, 3, 4, 5]
    (at_once,) = discover(G, PenaltyDescent(steps=5, batch=4), quiet=True)
    assert torch.equal(og.Directions.load(tmp_path / "PenaltyDescent.safetensors").basis, at_once.basis)
    with pytest.raises(ValueError, match="has taken 5 steps and 4 are asked for; give this one a name of its own"):
        discover(G, PenaltyDescent(steps=4, batch=4), to=tmp_path, quiet=True)


def test_the_state_of_another_search_is_refused(tmp_path):
    G, method = linear(), PenaltyDescent(steps=2, batch=4)
    discover(G, method, to=tmp_path, quiet=True)
    before = content(tmp_path)
    state = r"searches/PenaltyDescent.safetensors is of another search, with "
    truncated = og.adapt(G.module, og.TruncatedNormal(6, 0.5))
    for generator, other, options, said in (
        (G, PenaltyDescent(steps=2, batch=4, lr=0.1), {}, r"lr=0.01 \(now 0.1\)"),
        (G, PenaltyDescent(og.OroJaR(reduction="mean"), steps=2, batch=4), {}, r"penalty=OroJaR \(now OroJaR\(...\)\)"),
        (G, method, {"seed": 1}, r"seed=0 \(now 1\)"),
        (truncated, method, {}, r"latent=Normal\(dim=6\) \(now TruncatedNormal"),
        (og.adapt(nn.Linear(6, 4), og.Normal(6)), method, {}, "generator="),
    ):
        with pytest.raises(ValueError, match=state + said) as error:
            discover(generator, other, to=tmp_path, quiet=True, **options)
        assert "\n" not in str(error.value)
    assert content(tmp_path) == before
    discover(G, {"again": PenaltyDescent(steps=2, batch=4, lr=0.1)}, to=tmp_path, quiet=True)


@pytest.mark.parametrize("damaged", [b"", b"cut short"])
def test_a_damaged_state_is_refused(tmp_path, damaged):
    (tmp_path / "searches").mkdir()
    (tmp_path / "searches" / "PenaltyDescent.safetensors").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"is damaged; delete it to search from the start"):
        discover(linear(), PenaltyDescent(steps=2, batch=4), to=tmp_path, quiet=True)


def test_a_search_that_diverges_keeps_its_last_good_state(tmp_path):
    G = linear()
    discover(G, PenaltyDescent(steps=2, batch=4), to=tmp_path, quiet=True)
    good = content(tmp_path)

    def spoil(search):
        search.log[-1]["loss"] = torch.tensor(torch.inf)

    with pytest.raises(FloatingPointError, match="PenaltyDescent: the loss is not finite from step 3 on; try a lower"):
        discover(G, PenaltyDescent(steps=4, batch=4), to=tmp_path, each=spoil, quiet=True)
    assert content(tmp_path) == good


def test_the_state_of_a_generator_that_is_used_otherwise_is_refused(tmp_path):
    G, method = conditional(), PenaltyDescent(steps=3, batch=2)
    discover(G.of_class(0), method, to=tmp_path, quiet=True)  # the weights are those of the next one
    with pytest.raises(ValueError, match=r"of a search in a generator that draws other images \(another class, trunca"):
        discover(G.of_class(1), method, to=tmp_path, quiet=True)
    discover(G.of_class(0), method, to=tmp_path, quiet=True)


def test_a_latent_without_a_name_is_known_again(tmp_path):
    class Mine(og.Normal.__mro__[1]):
        dim, span = 6, (-1.0, 1.0)

        def draw(self, n, rng):
            return torch.rand(n, 6, generator=rng)

    for _ in range(2):  # its repr has its address
        found = discover(og.adapt(linear().module, Mine()), PenaltyDescent(steps=2, batch=2), to=tmp_path, quiet=True)
    assert found[0].provenance["taken"] == 2


def test_more_directions_than_there_are_is_refused():
    for method in ("Coordinates", "Random"):
        with pytest.raises(ValueError, match=r"count=9\)?: .* 6 directions to give"):
            discover(linear(), method, count=9)
