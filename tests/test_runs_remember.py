"""Runs say themselves what reading them takes, and how to go on with them."""

from __future__ import annotations

import json
import shlex
import types
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from report_runs import GOOD, SCORES, SPECS, N, toy_truth, write_run

import zcbench
from zcbench.analysis.block import setting
from zcbench.analysis.regression import compare as compare_runs
from zcbench.cli import main
from zcbench.config import RunConfig, load_config
from zcbench.engine import InterruptedRunError, Observer, execute
from zcbench.engine import manifest as manifests
from zcbench.errors import UsageError
from zcbench.proxies import PROXIES
from zcbench.report import correlations, make_report
from zcbench.store import load_run

PLUGIN = '''
import zcbench

@zcbench.proxy(reference="me2026", direction="lower", baseline=True, aliases=("mine",))
def my_loss(p: zcbench.Parameters) -> float:
    """Lower is better."""
    return float(p.n_params)
'''
LOWER = {"direction": "lower", "baseline": False, "aliases": ["grief"]}


@pytest.fixture
def truth(monkeypatch):
    monkeypatch.setattr("zcbench.truth.load_truth", toy_truth)


def zcbench_(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def add(path: Path, **parts: object) -> Path:
    """More parts for the manifest of a run."""
    file = path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | parts))
    return path


@pytest.fixture
def run(tmp_path):
    """A run with a plug-in's proxy of which lower is better."""
    scores = {**SCORES, "sorrow": -GOOD}
    return write_run(tmp_path / "run", scores, traits={"sorrow": LOWER})


# --- direction, baseline and aliases --------------------------------------------------


def test_a_run_remembers_the_traits_of_its_proxies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("loss.py").write_text(PLUGIN)
    options = ["--space", "toy", "--n", 12, "--workers", 1, "--out", "made"]
    made = zcbench_("run", *options, "--plugin", "loss.py", "--proxies", "params,mine")
    assert made.exit_code == 0, made.output
    PROXIES.remove("my_loss")  # as in another process that does not load it
    kept = json.loads(Path("made/manifest.json").read_text())
    assert kept["traits"] == {
        "params": {"direction": "higher", "baseline": True, "aliases": []},
        "my_loss": {"direction": "lower", "baseline": True, "aliases": ["mine"]},
    }
    reported = zcbench_("report", "made")
    assert reported.stderr == ""
    rows = reported.stdout.split("\n\n")[1]
    assert rows.startswith("proxy")
    assert rows in made.stdout
    assert "my_loss (lower is better) *" in reported.stdout


def test_traits_of_the_run_decide(run, truth):
    report = make_report([load_run(run)])
    (study,) = report.studies
    assert study.lower == {"sorrow"}
    assert study.scores["sorrow"].tolist() == study.scores["jacov"].tolist()
    assert study.baselines == ("params", "n_layers")  # the registry knows those
    assert report.table["proxy"].iloc[:2].tolist() == ["jacov", "sorrow"]
    assert study.note == ""


def test_traits_that_nobody_knows_are_said_once(tmp_path, truth):
    path = write_run(tmp_path / "run", {**SCORES, "sorrow": -GOOD, "joy": GOOD})
    said = (
        f"{path}: neither the run nor a loaded plug-in says whether a higher or a "
        "lower score is better of sorrow, joy: higher is taken. --plugin FILE loads "
        "one."
    )
    assert correlations([load_run(path)]).attrs["notes"] == [said]
    for command in (["report", path], ["compare", path, path]):
        result = zcbench_(*command)
        assert (result.exit_code, result.stderr) == (0, f"{said}\n")


@pytest.mark.parametrize(
    "command", ["report", "compare", "agree", "plot", "predict", "search"]
)
def test_commands_that_read_runs_take_plugins(command):
    assert "--plugin" in zcbench_(command, "--help").stdout


def test_another_direction_is_not_comparable(run, tmp_path, truth):
    other = write_run(tmp_path / "other", {**SCORES, "sorrow": -GOOD})
    table = compare_runs(other, run).set_index("proxy")
    assert table.loc["sorrow", "verdict"] == "not comparable"
    assert table.loc["sorrow", "reason"] == "higher is better then, lower now"


def test_published_scores_may_use_an_alias_that_the_run_knows(run, tmp_path):
    file = tmp_path / "theirs.csv"
    lines = [f"{spec},{-score}" for spec, score in zip(SPECS, GOOD, strict=True)]
    file.write_text("\n".join(["arch,grief", *lines]))
    result = zcbench_("agree", run, file, "--format", "json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert (row["proxy"], row["n"]) == ("sorrow", N)
    assert row["spearman"] == pytest.approx(1)


# --- how many architectures -----------------------------------------------------------


def expected(path: Path) -> tuple[int, int | None, bool]:
    (study,) = correlations([load_run(path)]).attrs["studies"]
    return study.networks, study.expected, study.partial


def test_number_of_architectures_is_that_of_the_run(tmp_path, truth):
    made = write_run(tmp_path / "made", indices=range(9), n="all", repeats=2)
    assert expected(add(made, architectures=9)) == (18, 18, False)
    assert expected(add(made, architectures=10)) == (18, 20, True)


def test_an_earlier_run_of_more_than_there_are_is_whole(tmp_path, truth):
    assert expected(write_run(tmp_path / "more", n=1000)) == (N, N, False)
    few = write_run(tmp_path / "few", n=1000, indices=range(9))
    assert expected(few) == (9, N, True)


@pytest.mark.parametrize(("n", "count"), [(20, 20), (5, 12), ("all", 27)])
def test_going_on_keeps_the_larger_number(n, count):
    old = {"config": {"n": 12}, "proxies": {}, "architectures": 12}
    here = {"n": n, "datasets": [], "proxies": [], "plugin": [], "task": []}
    new = {"config": {**here, "repeats": 1, "workers": 1}, "architectures": 0}
    new["architectures"] = N if n == "all" else n
    parts = ("proxies", "traits", "plugins", "tasks", "minibatch", "truth")
    new |= {part: {} for part in (*parts, "created", "zcbench", "versions")}
    new |= {part: {} for part in ("device", "platform", "git", "architectures_of")}
    merged = manifests.merged(old, new, worked=False)
    assert merged["architectures"] == count
    assert merged["config"]["n"] == max(12, n) if n != "all" else "all"


# --- a list or a sample ---------------------------------------------------------------


def listed(folder: Path, form: str) -> Path:
    """A configuration with a list of architectures, as a file of that form."""
    (folder / "archs.txt").write_text("3\n14\n")
    config = {"space": "toy", "n": 7, "population": "all", "archs": "archs.txt"}
    if form == "manifest.json":
        (folder / form).write_text(json.dumps({"config": config}))
    else:
        path = folder / "archs.txt"
        (folder / form).write_text(f"space = 'toy'\narchs = {str(path)!r}\n")
    return folder / form


@pytest.mark.parametrize("form", ["manifest.json", "config.toml"])
@pytest.mark.parametrize("stronger", [{"n": "5"}, {"population": "connected"}])
@pytest.mark.parametrize("source", ["options", "environ"])
def test_a_sample_that_is_asked_for_beats_an_inherited_list(
    tmp_path, form, stronger, source
):
    file = listed(tmp_path, form)
    assert load_config(file=file).archs == tmp_path / "archs.txt"
    given = {f"ZCBENCH_{k.upper()}": v for k, v in stronger.items()}
    sources = {"options": stronger} if source == "options" else {"environ": given}
    config = load_config(file=file, **sources)
    assert config.archs is None
    assert config.n == int(stronger.get("n", 100))
    assert config.population == stronger.get("population", "all")


def test_a_list_that_is_asked_for_beats_an_inherited_sample(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text("n = 50\npopulation = 'connected'\n")
    config = load_config({"archs": "mine"}, file=file)
    assert (config.archs, config.population) == (Path("mine"), "all")


@pytest.mark.parametrize("key", ["n", "population"])
def test_one_source_cannot_ask_for_both(tmp_path, key):
    file = tmp_path / "config.toml"
    file.write_text(f"archs = 'mine'\n{key} = 'all'\n")
    with pytest.raises(UsageError) as error:
        load_config(file=file)
    both = f"archs in config.toml and {key} in config.toml"
    assert str(error.value).startswith(f"{both} exclude each other. Drop {key}")
    environ = {"ZCBENCH_ARCHS": "mine", f"ZCBENCH_{key.upper()}": "all"}
    with pytest.raises(UsageError, match="exclude each other"):
        load_config(environ=environ)


def test_population_of_a_list_is_the_list(tmp_path, truth):
    path = write_run(tmp_path / "run", indices=[3, 5, 7, 9], archs="archs.txt")
    (study,) = correlations([load_run(path)]).attrs["studies"]
    assert (study.population, study.sampled) == ("list", "list")
    assert setting(study).startswith("list of 4 architectures · ")
    (study,) = correlations([load_run(path)], population="connected").attrs["studies"]
    assert study.population == "connected"


def test_a_report_of_a_list_by_an_earlier_version_compares(tmp_path, truth):
    path = write_run(tmp_path / "run", archs="archs.txt")
    before = zcbench_("report", path, "--format", "json").stdout
    assert '"population": "list"' in before
    old = json.loads(before)
    old["runs"][0]["sections"][0]["population"] = "all"
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert set(compare_runs(tmp_path / "old.json", path)["verdict"]) == {"same"}


# --- going on after Ctrl-C ------------------------------------------------------------


class Stop(Observer):
    """Ctrl-C after the first network."""

    def advance(self, failed: int) -> None:
        raise KeyboardInterrupt


def test_hint_and_manifest_say_all_that_going_on_takes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = RunConfig(
        space="toy",
        n=4,
        proxies=("params",),
        workers=1,
        slurm=("timeout_min=60", "partition=a b"),
        ray_address="auto",
        out=Path("my run"),
        overwrite="always",
        strict=True,
        truth="none",
        minibatch="gaussian",
    )
    with pytest.raises(InterruptedRunError) as stopped:
        execute(asked, Stop())
    command = stopped.value.hint.removeprefix("Go on with: ")
    words = shlex.split(command)
    assert words[:2] == ["zcbench", "run"]
    with main.make_context("zcbench", words[1:]) as context:
        name, _, rest = main.resolve_command(context, words[1:])
    assert name == "run"
    given = dict(zip(rest[::2], rest[1::2], strict=False))
    again = load_config(
        {"out": given["--out"], "strict": "--strict" in words},
        file=Path(given["--config"]),
    )
    # To begin again would lose what is done; the rest is as it was asked for.
    changed = {"overwrite": "only-missing", "datasets": ("toy",), "device": "cpu"}
    assert again == replace(asked, **changed, stack=1)


def test_hint_for_several_spaces_names_them_all(tmp_path, monkeypatch):
    def stop(config, observer):
        raise InterruptedRunError("Interrupted.", "Go on with: one of them")

    monkeypatch.setattr("zcbench.engine.execute", stop)
    out = tmp_path / "my runs"
    result = zcbench_("run", "--space", "toy,nb201", "--out", out)
    assert result.exit_code == 130
    assert result.stderr.endswith(
        f"Interrupted. Go on with: the same command, with --out '{out}'\n"
    )


# --- what registers ------------------------------------------------------------------


def sound(p: zcbench.Parameters) -> float:
    """Number of parameters. Higher is better."""
    return float(p.n_params)


def bare(p) -> float:
    return 0.0


def nothing() -> float:
    return 0.0


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"direction": "up"}, "has the direction 'up': it is 'higher' or 'lower'."),
        ({"version": 0}, "has the version 0: it is a whole number of at least 1."),
        ({"version": "2"}, "has the version '2': it is a whole number of at least 1."),
        ({"version": True}, "has the version True: it is a whole number of at least"),
        ({"aliases": "mine"}, "has the aliases 'mine': they are a tuple of names."),
        ({"aliases": (3,)}, "has the aliases (3,): they are a tuple of names."),
        ({"aliases": ("a b",)}, "has the aliases ('a b',): they are a tuple of names."),
        ({"reference": None}, "has the reference None: it is the BibTeX key of a "),
        ({"name": ""}, "has the name '': a name has no space, comma, colon or plus."),
        ({"name": "a b"}, "has the name 'a b': a name has no space, comma, colon or"),
        ({"name": "a,b"}, "has the name 'a,b': a name has no space, comma, colon or"),
        ({"function": bare}, "has no annotated parameter: its annotations are the "),
        ({"function": nothing}, "has no annotated parameter: its annotations are "),
    ],
)
def test_what_registers_is_checked(given, problem):
    """In one sentence that names the proxy, and nothing is registered."""
    function = given.pop("function", sound)
    made = types.FunctionType(function.__code__, globals(), given.pop("name", "made"))
    made.__annotations__ = function.__annotations__
    before = PROXIES.names()
    with pytest.raises(UsageError) as error:
        zcbench.proxy(**{"reference": "me2026", **given})(made)
    assert str(error.value).startswith(f"The proxy {made.__name__!r} {problem}")
    assert PROXIES.names() == before


def test_a_sound_proxy_registers():
    zcbench.proxy(reference="", version=2, aliases=["my-own"])(sound)
    try:
        assert PROXIES.get("my-own").version == 2
    finally:
        PROXIES.remove("sound")
