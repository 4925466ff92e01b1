import errno
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

import orthogen as og
from orthogen import recipes
from orthogen.cli import main
from orthogen.cli.overrides import leaves, override
from orthogen.core.directions import Directions
from orthogen.recipes import build

RECIPE = """
    from dataclasses import replace
    import orthogen as og
    from orthogen import recipes

    def tiny():
        recipe = recipes.build("orojar.sprites_small")
        model = og.SimpleGan(og.Normal(3), resolution=16, width=0.03)
        terms = dict(recipe.objective.terms)
        terms["orojar"] = replace(terms["orojar"], layers=("layers.1.layers.conv",), every=2)
        objective = replace(recipe.objective, terms=terms)
        return replace(
            recipe, name="mine.tiny", model=model, data=og.Sprites(resolution=16), objective=objective,
            images=320, batch=16, decay_from=160, checkpoint_every=160, sample_every=160,
        )
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(textwrap.dedent(RECIPE))
    return tmp_path


def fails(capsys, *argv: str) -> str:
    """What a mistake prints: exit code 2, at most three lines, no traceback."""
    assert main(argv) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) <= 3
    assert "Traceback" not in said.err
    assert said.err.startswith("orthogen: ")
    return said.err.removeprefix("orthogen: ").strip()


# ------------------------------------------------------------------------------------------------ help and listings
def test_help_is_quick_and_needs_no_torch():
    code = (
        "import sys; sys.argv = ['orthogen', '--help']\n"
        "from orthogen.cli import main\n"
        "code = main()\n"
        "heavy = {'torch', 'numpy', 'tyro', 'rich', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(code or (3 if heavy else 0))"
    )
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    assert done.returncode == 0, done.stderr
    assert seconds < 0.5 * max(1, os.getloadavg()[0] / (os.cpu_count() or 1))  # on a machine that is not overloaded
    for verb in "demo list show cite train sample traverse heatmaps discover convert measure compare report".split():
        assert re.search(rf"^ +{verb} ", done.stdout, re.MULTILINE)
    for later in ("explore", "reproduce"):
        assert later not in done.stdout


def test_python_m_and_version(capsys):
    done = subprocess.run([sys.executable, "-m", "orthogen", "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"orthogen \d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize(
    "verb", "demo list show cite train sample traverse heatmaps discover measure compare report".split()
)
def test_every_verb_explains_itself(verb, capsys):
    assert main([verb, "--help"]) == 0
    assert f"orthogen {verb}" in capsys.readouterr().out


def test_a_list_has_room_for_what_it_says(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["list", "recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("  orojar.sprites ") and len(line.split()) > 3 for line in lines)


def test_list(capsys):
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    for name in ("orojar.sprites_small", "HessianPenalty", "Activeness", "SimpleGan", "Shapes3d"):
        assert name in said
    assert main(["list", "metrics"]) == 0
    said = capsys.readouterr().out
    assert "Mig" in said
    assert "SimpleGan" not in said


def test_show_a_member_and_a_recipe(capsys):
    assert main(["show", "Mig"]) == 0
    said = capsys.readouterr().out
    assert "MIG = mean over factors" in said
    assert "NeurIPS 2018" in said
    assert re.search(r"bins +20", said)
    assert main(["show", "orojar.sprites"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"objective\.terms\.orojar\.weight +1e-11", said)
    assert "no measurable effect" in said
    assert "Claims:" in said


def test_cite(capsys):
    assert main(["cite", "hessian_penalty"]) == 0
    assert "@inproceedings{peebles2020hessian," in capsys.readouterr().out
    assert main(["cite", "orojar.sprites"]) == 0
    said = capsys.readouterr().out
    assert said.count("@inproceedings") == said.count("@inproceedings{wei2021orojar") == 1
    assert main(["cite", "Sprites"]) == 0
    assert "has no entry" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------------- overrides
def test_overrides_reach_every_depth():
    changed = override(
        build("orojar.sprites"),
        [
            "--objective.terms.orojar.weight", "1e-3",
            "--objective.terms.orojar.penalty.derivative.step=0.2",
            "--objective.terms.orojar.penalty.reduction", "mean",
            "--objective.terms.orojar.layers", "layers.1", "layers.2",
            "--model.latent.dim", "10",
            "--images", "1000",
            "--decay-from", "None",
            "--generator_optimizer.betas", "0.0", "0.9",
        ],
    )  # fmt: skip
    term = changed.objective.terms["orojar"]
    assert (term.weight, term.penalty.derivative.step, term.penalty.reduction) == (1e-3, 0.2, "mean")
    assert term.layers == ("layers.1", "layers.2")
    assert (changed.model.latent.dim, changed.images, changed.decay_from) == (10, 1000, None)
    assert changed.generator_optimizer.betas == (0.0, 0.9)
    assert changed.critic_optimizer == build("orojar.sprites").critic_optimizer
    assert changed.departures == build("orojar.sprites").departures


@pytest.mark.parametrize(
    "arguments",
    [
        ["--model.latent.dim", "4", "--model.modules", "Conv-up-3, C_global-4"],
        ["--model.modules", "Conv-up-3, C_global-4", "--model.latent.dim", "4"],
        [
            "--objective.terms.variation-predictability.penalty.delta", "all",
            "--objective.terms.variation-predictability.penalty.loss", "regression",
        ],
        ["--batch", "4", "--images", "16"],
    ],
    ids=["latent first", "modules first", "loss", "batch"],
)  # fmt: skip
def test_settings_that_belong_together_can_be_given_together(arguments):
    recipe = build("variation_predictability.shapes3d_small")
    changed = override(recipe, arguments)
    found = {leaf.flag: leaf.value for leaf in leaves(changed)}
    for flag, value in zip(arguments[::2], arguments[1::2], strict=True):
        assert str(found[flag]) == value
    before = {leaf.flag: leaf.value for leaf in leaves(recipe)}
    assert {flag for flag in found if found[flag] != before[flag]} == set(arguments[::2])


def test_a_switch_does_not_hide_a_field():
    def function(*, images: str = "sprites"): ...

    with pytest.raises(
        ValueError, match=r"^my.py:function has a switch --images, as a field is called; give it another"
    ):
        override(
            build("orojar.sprites"),
            [],
            "orthogen train my.py:function",
            inspect.signature(function).parameters,
        )


def test_no_recipe_of_the_package_has_a_switch_that_hides_a_field():
    for name in recipes.names():
        switches = recipes.switches(name)
        assert not set(switches) & {leaf.path for leaf in leaves(recipes._function(name)())}, name


def test_no_override_is_no_change():
    recipe = build("hessian_penalty.sprites")
    assert override(recipe, []) is recipe
    paths = [leaf.path for leaf in leaves(recipe)]
    assert len(paths) == len(set(paths))
    assert not {"name", "claims", "departures"} & set(paths)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--imags", "3"], "--imags is no field of orojar.sprites_small; nearest: --images"),
        (["--objective.terms.orojr.weight", "3"], "nearest: --objective.terms.orojar.weight"),
        (["--images", "many"], "invalid literal for int"),
        (["--objective.terms.orojar.penalty.reduction", "median"], "Expected one of ('max', 'mean')"),
        (["--objective.terms.orojar.penalty.k", "1"], "OroJaR(k=1): a variance over probes needs k of 2 or more"),
        (["--objective.terms.orojar.penalty.derivative.step", "0"], "step=0.0): the step must be positive"),
        (["--model.resolution", "48"], "the side is 4·2^n pixels"),
        (["--images"], "--images"),
        (["stray"], "stray"),
    ],
)  # fmt: skip
def test_wrong_overrides(here, capsys, arguments, words):
    assert words in fails(capsys, "train", "orojar.sprites_small", *arguments)
    assert not Path("runs").exists()


def test_help_of_a_recipe_lists_its_fields(capsys):
    assert main(["train", "plain.sprites_small", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "--model.latent.dim INT" in said
    assert "side of the images, in pixels. (default: 32)" in said


# ------------------------------------------------------------------------------------------------- the whole way
def test_train_sample_traverse_measure_report(here, capsys):
    train = ["train", "mine.py:tiny", "--run", "runs/x", "--device", "cpu", "--images", "192"]
    assert main(train) == 0
    run = Path("runs/x")
    weights = sorted(run.glob("checkpoints/*/generator.safetensors"))
    assert weights
    assert main(train) == 0  # once more on the same folder: nothing left to do
    assert sorted(run.glob("checkpoints/*/generator.safetensors")) == weights
    capsys.readouterr()

    assert main(["sample", "runs/x", "-n", "5", "--to", "five.png"]) == 0
    assert capsys.readouterr().out == "five.png\n"
    first = Image.open("five.png").tobytes()
    assert main(["sample", str(weights[-1]), "-n", "5", "--to", "again.png"]) == 0  # from the file alone
    assert Image.open("again.png").tobytes() == first
    assert main(["sample", "runs/x", "-n", "5", "--seed", "1", "--to", "other.png"]) == 0
    assert Image.open("other.png").tobytes() != first
    capsys.readouterr()

    assert main(["traverse", "runs/x", "--steps", "3", "--samples", "1"]) == 0
    written = capsys.readouterr().out.split()
    assert [Path(path).suffix for path in written] == [".png", ".gif"]
    assert all(Path(path).is_file() for path in written)

    assert main(["measure", "runs/x", "Activeness", "Mig", "OroJaR", "-n", "100"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^Activeness .* ± .* \(n=300\)$", said, re.MULTILINE)
    assert re.search(r"^MIG .* ± .* \(n=100\)$", said, re.MULTILINE)
    assert main(["measure", "runs/x", "Mig", "-n", "100"]) == 0  # replaces, does not repeat
    scores = json.loads((run / "scores.json").read_text())["scores"]
    assert [score["name"] for score in scores] == ["Activeness", "MIG", "OroJaR"]
    assert scores[1]["protocol"]["ambiguous_factors_left_out"] == ["orientation"]
    assert scores[1]["about"]["trained_images"] == 192

    assert main(["report", "runs/x", "--to", "page.html"]) == 0
    page = Path("page.html").read_text()
    assert "mine.tiny" in page
    assert not re.search(r"""(src|href)=["']?https?:""", page)


@pytest.fixture
def trained(here, capsys):
    assert main(["train", "mine.py:tiny", "--run", "runs/x", "--device", "cpu", "--images", "32"]) == 0
    capsys.readouterr()
    return Path("runs/x")


def test_discover_and_rename(trained, capsys):
    assert main(["discover", "runs/x", "--methods", "SeFa", "Random", "--count", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "runs/x/directions/SeFa.safetensors: 2 directions", "runs/x/directions/Random.safetensors: 2 directions",
    ]  # fmt: skip
    file = "runs/x/directions/SeFa.safetensors"
    assert main(["discover", file, "--rename", "1=size", "0=turn"]) == 0
    assert capsys.readouterr().out == f"{file}: 1 size, 0 turn\n"
    assert main(["discover", "runs/x", "SeFa", "--count", "2"]) == 0
    assert Directions.load(file).names == ("turn", "size")
    capsys.readouterr()
    assert "there is no direction 2; give 0 to 1, or by name: turn, size" in fails(
        capsys, "discover", file, "--rename", "2=a"
    )
    assert "'size' is not" in fails(capsys, "discover", file, "--rename", "turn=size")
    assert Directions.load(file).names == ("turn", "size")


def test_settings_of_methods(trained, capsys):
    quick = ["--steps", "2", "--batch", "4"]
    words = ["--penalty", "HessianPenalty", "--base", "random", "--search-space", "1", "3", "--orthogonal=retract"]
    assert main(["discover", "runs/x", "PenaltyDescent", *quick, *words, "--name", "hp", "--seed", "5"]) == 0
    found = Directions.load("runs/x/directions/hp.safetensors").provenance
    settings = {name: found["settings"][name] for name in ("penalty", "base", "search_space", "orthogonal", "batch")}
    assert settings == {
        "penalty": "HessianPenalty", "base": "random", "search_space": [1, 3], "orthogonal": "retract", "batch": 4,
    }  # fmt: skip
    assert found["seed"] == 5
    options = ["--PenaltyDescent.steps", "2", "--PenaltyDescent.search-space", "all", "--SeFa.count", "1"]
    assert main(["discover", "runs/x", "--seed", "1", "PenaltyDescent", "SeFa", *options]) == 0
    assert len(Directions.load("runs/x/directions/SeFa.safetensors")) == 1
    capsys.readouterr()
    assert "is of another search, with batch=32 (now 4)" in fails(
        capsys, "discover", "runs/x", "PenaltyDescent", *quick, "--seed", "1", "--search-space", "all"
    )
    assert main(["discover", "runs/x", "PenaltyDescent", "--help"]) == 0
    said = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    assert "--path-size FLOAT" in said
    assert "learning rate of Adam" in said  # which the class it is derived from describes
    assert main(["discover", "--help"]) == 0
    assert "--clips-every STEPS" in capsys.readouterr().out


def test_clips_during_a_search_and_a_generator_of_ones_own(here, capsys):
    Path("net.py").write_text(
        "import torch\nfrom torch import nn\n\n\n"
        "def make():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Linear(4, 48), nn.Tanh(), nn.Unflatten(1, (3, 4, 4)))\n"
    )
    source = ["--generator", "net.py:make", "--latent", "normal:4"]
    search = ["discover", "PenaltyDescent", *source, "--steps", "4", "--batch", "2", "--clips-every", "2"]
    assert main(search) == 0
    assert capsys.readouterr().out == "directions/PenaltyDescent.safetensors: 4 directions\n"
    clips = Path("directions/searches/PenaltyDescent_clips")
    assert sorted(path.name for path in clips.iterdir()) == ["step_000002", "step_000004"]
    assert {path.suffix for path in (clips / "step_000004").iterdir()} == {".png", ".gif"}
    assert len(Path("directions/searches/PenaltyDescent.jsonl").read_text().splitlines()) == 4


def test_compare_methods(trained, capsys):
    options = ["--seeds", "2", "--count", "2", "--budget", "200", "--no-vp", "--compare"]
    assert main(["discover", "runs/x", "SeFa", "Random", *options]) == 0
    said = capsys.readouterr().out
    assert "SeFa" in said
    assert "Random" in said
    scores = json.loads((trained / "scores.json").read_text())["scores"]
    assert {score["about"]["leaderboard"]["method"] for score in scores} == {"SeFa", "Random"}
    found = Directions.load("runs/x/directions/SeFa.safetensors")
    assert len(found.scores["effect_size"]) == len(found) == 2
    alone = og.discover("runs/x", "SeFa", count=2, save=False, quiet=True)[0]
    assert torch.equal(alone.basis, found.basis)
    main(["discover", "runs/x", "SeFa", "--count", "2"])  # what was measured along them stays
    assert Directions.load("runs/x/directions/SeFa.safetensors").scores == found.scores


def test_ctrl_c_in_a_search_says_how_to_go_on(trained):
    search = ["discover", "runs/x", "PenaltyDescent", "--steps", "1000000", "--batch", "2", "--save-every", "5"]
    command = [sys.executable, "-m", "orthogen", *search]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    for _ in range(600):
        if Path("runs/x/directions/searches/PenaltyDescent.safetensors").exists():
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "stopped; to go on where it was: orthogen " + " ".join(search)
    assert "Traceback" not in said


@pytest.mark.slow
def test_demo_and_once_more(here, capsys, monkeypatch):
    demo = ["demo", "--images", "128", "--device", "cpu"]
    assert main(demo) == 0
    assert re.match(r"runs/demo/report\.html  \(\d+\.\d minutes\)", capsys.readouterr().out)
    names = {}
    for run in ("plain", "orojar"):
        scores = json.loads(Path(f"runs/demo/{run}/scores.json").read_text())["scores"]
        names[run] = [score["name"] for score in scores]
        assert scores[1]["protocol"]["factors"] == ["floor_hue", "wall_hue", "object_hue", "scale"]
    assert names["plain"] == names["orojar"] == ["Activeness", "MIG", "OroJaR"]
    weights = {path: path.read_bytes() for path in Path("runs").rglob("*.safetensors")}
    monkeypatch.setattr("orthogen.reporting.traversal.traverse", lambda run: [])
    monkeypatch.setattr("orthogen.evaluation.measure", lambda run, metrics, n: [])
    assert main(demo) == 0  # nothing is trained again
    assert {path: path.read_bytes() for path in Path("runs").rglob("*.safetensors")} == weights


def test_with_a_penalty_of_ones_own(here):
    Path("calm.py").write_text(
        textwrap.dedent('''
        """A penalty on the size of the image."""
        from dataclasses import dataclass
        from orthogen.core.kinds import LatentPenalty

        @dataclass(frozen=True)
        class CalmImages(LatentPenalty):
            """Mean square of the image."""
            power: float = 2.0

            def terms(self, f, z, *, state=None, rng=None, probes=None):
                return {"output": f(z)[-1].abs().pow(self.power).mean()}
        ''')
    )
    options = ["--with", "calm.py:0.5", "--objective.terms.calm_images.penalty.power", "1"]
    assert main(["train", "mine.py:tiny", "--name", "calm", "--images", "64", "--device", "cpu", *options]) == 0
    record = json.loads(Path("runs/calm/run.json").read_text())["recipe"]["objective"]["terms"]["calm_images"]
    assert (record["weight"], record["penalty"]["power"]) == (0.5, 1.0)
    lines = Path("runs/calm/log.jsonl").read_text().splitlines()
    assert any("calm_images" in line for line in lines)


def test_a_run_of_a_model_of_ones_own_is_read_with_its_file(here):
    Path("net.py").write_text(
        textwrap.dedent('''
        """A generator of one's own."""
        from dataclasses import dataclass, field, replace
        import orthogen as og
        from orthogen import recipes
        from orthogen.core.kinds import Model

        @dataclass(frozen=True)
        class Mine(Model):
            latent: og.Normal = field(default_factory=lambda: og.Normal(3))

            def build(self):
                return og.SimpleGan(self.latent, resolution=16, width=0.02).build()

        def small():
            recipe = recipes.build("plain.sprites_small")
            return replace(recipe, name="net.small", model=Mine(), data=og.Sprites(16), images=64, decay_from=None)
        ''')
    )
    assert main(["train", "net.py:small", "--name", "own", "--device", "cpu"]) == 0
    command = [sys.executable, "-m", "orthogen", "sample", "runs/own", "-n", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    bare = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert bare.returncode == 2
    assert "orthogen_user_net" in bare.stderr
    told = subprocess.run([*command, "--with", "net.py"], capture_output=True, text=True, env=environment)
    assert told.returncode == 0, told.stderr
    assert Path("runs/own/samples.png").is_file()


def test_ctrl_c_says_how_to_go_on(here):
    command = [sys.executable, "-m", "orthogen", "train", "mine.py:tiny", "--images", "10000000", "--device", "cpu"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    for _ in range(600):
        if Path("runs/mine.tiny/run.json").exists() and list(
            Path("runs/mine.tiny").glob("checkpoints/*/checkpoint.json")
        ):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "stopped; to go on where it was: orthogen " + " ".join(command[3:])
    assert "Traceback" not in said


# ------------------------------------------------------------------------------------------------------- mistakes
@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["trian", "plain.sprites"], "'trian' is no verb; did you mean train?"),
        (["discover", "runs/x"], "name a way to find directions, such as SeFa"),
        (["discover", "runs/x", "SeFaa"], "nothing here is called 'SeFaa'; nearest: SeFa"),
        (["discover", "runs/x", "SeFa"], "runs/x does not exist"),
        (["discover", "runs/x", "SeFa", "--lr", "1"], "--lr is no field of SeFa"),
        (["discover", "runs/x", "orojar.goldens"], "no recipe for a search is called 'orojar.goldens'"),
        (["discover", "runs/x", "PenaltyDescent", "--lr", "fast"], "fast"),
        (["discover", "runs/x", "PenaltyDescent", "--lr", "0"], "the learning rate must be positive"),
        (["discover", "runs/x", "SeFa", "Random", "--name", "both"], "--name both: one name for 2 methods"),
        (["discover", "runs/x", "SeFa", "--clips-every", "0"], "--clips-every 0: give at least 1 step"),
        (["discover", "runs/x", "SeFa", "--compare", "--name", "a"], "leave --name and --clips-every out"),
        (["discover", "SeFa", "--generator", "mine.py:tiny"], "returned a Recipe"),
        (["discover", "runs/x", "SeFa", "--rename", "0=a"], "--rename takes a directions file and nothing else"),
        (["discover", "no.safetensors", "--rename", "0"], "--rename 0: give the direction's number or name"),
        (["discover", "no.safetensors", "--rename", "0=a"], "no.safetensors does not exist"),
        (["discover", "mine.py", "--rename", "0=a"], "mine.py is not a directions file"),
        (["train", "orojar.church_mid"], "orojar.church_mid is a recipe for discover, not for train"),
        (["train"], "train needs a recipe (orthogen list recipes shows them)"),
        (["train", "plane.sprites"], "no recipe is called 'plane.sprites'; nearest: plain.sprites"),
        (["train", "nowhere.py:run"], "does not exist; give a Python file"),
        (["train", "plain.sprites_small", "--with", "nowhere.py:0.1"], "does not exist; give a Python file"),
        (["train", "plain.sprites_small", "--with", "mine.py"], "give a file and a weight, such as my_file.py:0.1"),
        (["train", "plain.sprites_small", "--with", "mine.py:1"], "defines 0 penalties"),
        (["train", "plain.sprites_small", "--device", "gpu9"], "gpu9"),
        (["train", "plain.sprites_small", "--log-to", "paper"], "tensorboard"),
        (["train", "orojar.celeba", "--data.path", "no/faces"], "no/faces"),
        (["train", "orojar.sprites_small", "--objective.terms.orojar.layers", "layers.9"], "no layer is called"),
        (["show", "OroJarr"], "nothing here is called 'OroJarr'; nearest: OroJaR"),
        (["cite", "nobody"], "nothing here is called 'nobody'"),
        (["list", "metric"], "no kind is called 'metric'; there are metrics"),
        (["sample", "runs/nothing"], "runs/nothing does not exist; give a run folder"),
        (["sample", "mine.py"], "mine.py is"),
        (["sample", "."], "."),
        (["traverse", "runs/nothing"], "runs/nothing does not exist"),
        (["measure", "runs/nothing", "Mig"], "runs/nothing does not exist"),
        (["report", "runs/nothing"], "runs/nothing does not exist"),
        (["report"], "RUN"),
        (["sample", "x", "--colour", "red"], "'--colour' is no option of sample (orthogen sample --help lists them)"),
        (["sample", "x", "-n", "few"], "invalid int value: 'few'"),
    ],
)  # fmt: skip
def test_mistakes(here, capsys, argv, words):
    assert words in fails(capsys, *argv)


def test_mistakes_with_a_run(here, capsys):
    assert main(["train", "mine.py:tiny", "--run", "x", "--images", "32", "--device", "cpu"]) == 0
    capsys.readouterr()
    before = {path: path.read_bytes() for path in Path("x").rglob("*") if path.is_file()}
    assert "another recipe" in fails(capsys, "train", "mine.py:tiny", "--run", "x", "--images", "64", "--batch", "32")
    assert "no metric is called 'Migg'" in fails(capsys, "measure", "x", "Migg")
    assert "-n 0: ask for at least one image" in fails(capsys, "sample", "x", "-n", "0")
    assert "directions" in fails(capsys, "measure", "x", "Activeness", "--directions", "mine.py")
    assert {path: path.read_bytes() for path in Path("x").rglob("*") if path.is_file()} == before
    newest = max(Path("x/checkpoints").iterdir())
    (newest / "generator.safetensors").write_bytes(b"cut short")
    assert "damaged" in fails(capsys, "sample", str(newest))


def picture(path: Path, mode: str = "RGB", size: tuple[int, int] = (32, 32)) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new(mode, size).save(path)


def test_ones_own_images(here):
    for i in range(20):
        picture(here / f"mine/{i}.png", size=(40, 36))
    options = ["--data", "mine", "--model.channels", "3", "--images", "64", "--device", "cpu", "--run", "own"]
    assert main(["train", "celeba_small.py:x", *options]) == 2
    assert main(["train", "orojar.celeba_small", *options, "--data.flip", "True", "--model.width", "0.05"]) == 0
    data = json.loads(Path("own/run.json").read_text())["recipe"]["data"]
    assert (data["type"], data["path"], data["resolution"], data["flip"]) == (
        "orthogen.data.image_folder:ImageFolder", "mine", 32, True,
    )  # fmt: skip


def test_images_that_cannot_be_used(here, capsys):
    picture(here / "broken/1.png")
    Path("broken/2.png").write_bytes(Path("broken/1.png").read_bytes()[:40])
    Path("empty").mkdir()
    Path("corrupt.zip").write_bytes(b"PK no zip file")
    picture(here / "labels/1.png")
    Path("labels/dataset.json").write_text(json.dumps({"labels": [["2.png", 0]]}))
    picture(here / "gray/1.png", mode="L")
    for data, words in {
        "nowhere": "nowhere",
        "nowhere.zip": "nowhere.zip",
        "broken": "2.png",
        "empty": "empty",
        "corrupt.zip": "corrupt.zip",
        "labels": "dataset.json",
        "gray": "channel",
    }.items():
        said = fails(capsys, "train", "orojar.celeba_small", "--data", data, "--images", "64", "--device", "cpu")
        assert words in said
        assert not list(Path("runs").rglob("*.safetensors"))


def test_full_disk(here, capsys, monkeypatch):
    assert main(["train", "mine.py:tiny", "--run", "x", "--images", "32", "--device", "cpu"]) == 0
    capsys.readouterr()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("orthogen.core.files.os.fsync", full)
    assert fails(capsys, "sample", "x", "--to", "s.png").startswith("the disk is full")
    assert not Path("s.png").exists()


def test_debug_shows_the_traceback(here):
    with pytest.raises(FileNotFoundError):
        main(["sample", "runs/nothing", "--debug"])
