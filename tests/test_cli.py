"""The command line: exit codes, one-line errors, start-up, lists."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import zcbench
from zcbench.cli import exit_code_of, main
from zcbench.errors import DataError

QUICK = ["--space", "toy", "--batch-size", "8", "--minibatch", "builtin"]
QUICK += ["--workers", "1", "--proxies", "params,snip,synflow"]


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, list(map(str, words)))


def last_line(result: Result) -> str:
    return result.stderr.strip().splitlines()[-1]


def test_a_run_ends_with_its_table_and_what_to_do_next(tmp_path: Path) -> None:
    path = tmp_path / "run"
    result = invoke("run", *QUICK, "--n", 20, "--out", path)
    assert result.exit_code == 0, result.output
    assert "snip" in result.stdout
    assert "params" in result.stdout
    assert "zcbench: " not in result.stdout
    assert "zcbench: 20 networks to score\n" in result.stderr
    assert f"zcbench: the run is in {path}\n" in result.stderr
    assert f"zcbench report {path}" in result.stderr
    again = invoke("run", *QUICK, "--n", 20, "--out", path)
    assert "20 networks to score, 20 of them already done" in again.stderr
    assert "zcbench: nothing was missing\n" in again.stderr
    assert invoke("report", path).exit_code == 0


def test_strict_reports_failed_scores(tmp_path: Path) -> None:
    result = invoke("run", *QUICK, "--n", "all", "--strict", "--out", tmp_path / "run")
    assert result.exit_code == 4
    assert last_line(result) == (
        f"zcbench: 5 scores without a value in {tmp_path / 'run'}. "
        "Their status in scores.jsonl says why."
    )
    fine = ["--proxies", "params", "--strict", "--out", tmp_path / "fine"]
    assert invoke("run", *QUICK[:-2], *fine, "--n", 5).exit_code == 0


def test_a_run_without_truth_prints_no_table(tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = invoke("run", *QUICK, "--n", 5, "--truth", "none", "--out", out)
    assert result.exit_code == 0
    assert result.stdout == ""


def test_options_from_environment_and_file(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('space = "toy"\nn = 5\nseed = 4\nproxies = "params"\n')
    environ = {"ZCBENCH_SEED": "3", "ZCBENCH_BATCH_SIZE": "8", "ZCBENCH_WORKERS": "1"}
    words = ["run", "--config", file, "--batch-size", "4", "--out", tmp_path / "run"]
    result = CliRunner().invoke(main, list(map(str, words)), env=environ)
    assert result.exit_code == 0, result.output
    config = json.loads((tmp_path / "run" / "manifest.json").read_text())["config"]
    assert (config["n"], config["seed"], config["batch_size"]) == (5, 3, 4)


def test_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path) -> None:
    result = invoke("run", *QUICK, "--n", 5, "--dry-run", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "passes     each once per network" in result.stdout
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["rum"], 2, "Unknown command 'rum'. Did you mean run?"),
        (["run", "--proxes", "all"], 2, "No such option"),
        (["run", "--space", "tyo"], 2, "Unknown space 'tyo'. Did you mean toy?"),
        (["run", *QUICK, "--proxies", "snapp"], 2, "Unknown proxy 'snapp'. Did you"),
        (["run", *QUICK, "--datasets", "tyo"], 2, "Unknown dataset of toy 'tyo'. Did"),
        (["run", *QUICK, "--truth", "tyo"], 2, "Unknown truth 'tyo'. Did you mean toy"),
        (["run", *QUICK, "--target", "tset"], 3, "The truth toy has no target 'tset'"),
        (
            ["run", "--n", "some"],
            2,
            "--n must be a whole number of at least 1 or 'all'",
        ),
        (["run", "--archs", "x", "--n", "3"], 2, "--archs and --n exclude each other."),
        (["run", "--config", "none.toml"], 3, "The configuration none.toml cannot be"),
        (
            ["run", *QUICK, "--archs", "none"],
            3,
            "The list of architectures none cannot",
        ),
        (["run", *QUICK, "--truth", "none.csv"], 3, "none.csv"),
        (
            ["run", *QUICK, "--plugin", "none.py"],
            3,
            "The plug-in none.py does not exist",
        ),
        (["show", "snipp"], 2, "Unknown proxy 'snipp'. Did you mean snip?"),
        (["list", "proxy"], 2, "Unknown list 'proxy'. Did you mean proxies?"),
        (["list"], 2, "Missing argument 'proxies|spaces|datasets|truths|tasks'."),
    ],
)
def test_mistakes_are_one_line_and_an_exit_code(
    words: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*words)
    assert not list(tmp_path.iterdir())
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.startswith("zcbench: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


def test_no_command_shows_help() -> None:
    result = invoke()
    assert result.exit_code == 2
    assert "Usage:" in result.output


def test_help_lists_commands_that_exist() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    for name in ("run", "report", "compare", "list", "show", "doctor"):
        assert f"\n  {name} " in result.stdout
        assert invoke(name, "--help").exit_code == 0
    assert main.get_command(click.Context(main), "nonsense") is None


def test_version() -> None:
    result = invoke("--version")
    assert result.stdout == f"zcbench, version {zcbench.__version__}\n"


def test_debug_shows_where_an_error_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback" not in invoke("show", "nonsense").stderr
    monkeypatch.setenv("ZCBENCH_DEBUG", "1")
    assert "Traceback" in invoke("show", "nonsense").stderr


def test_exit_codes_of_what_commands_raise(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def raising(error: BaseException) -> object:
        def program() -> None:
            raise error

        return program

    assert exit_code_of(lambda: None) == 0
    assert exit_code_of(lambda: 1) == 1  # compare finds a regression
    assert exit_code_of(raising(DataError("What.", "Hint."))) == 3
    assert exit_code_of(raising(click.UsageError("Bad\nthing"))) == 2
    assert exit_code_of(raising(KeyboardInterrupt())) == 130
    assert exit_code_of(raising(click.Abort())) == 130
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "zcbench: What. Hint.",
        "zcbench: Bad thing",
        "zcbench: Interrupted.",
        "zcbench: Interrupted.",
    ]
    with pytest.raises(ZeroDivisionError):  # our own mistakes are not hidden
        exit_code_of(raising(ZeroDivisionError()))


def test_a_closed_pipe_is_no_traceback() -> None:
    program = f"{sys.executable} -m zcbench list proxies --json | head -c 1"
    result = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {program}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    assert result.returncode in (0, 141)  # 0 if all of it fitted into the pipe


HEAVY = ("torch", "pandas", "scipy", "numpy")
STARTING = """
import sys
from zcbench.cli import main
try:
    main({words!r})
except SystemExit as end:
    assert not end.code, end.code
print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["list", "proxies"],
        ["list", "datasets"],
        ["list", "truths"],
        ["show", "snip"],
    ],
    ids=" ".join,
)
def test_starting_imports_nothing_heavy(words: list[str]) -> None:
    program = STARTING.format(words=words, heavy=HEAVY)
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stderr == "[]\n"
    assert result.stdout


@pytest.mark.thorough
def test_report_never_imports_torch(tmp_path: Path) -> None:
    invoke("run", *QUICK, "--n", 9, "--out", tmp_path / "run")
    words = ["report", str(tmp_path / "run")]
    program = STARTING.format(words=words, heavy=("torch",))
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stderr.endswith("[]\n")


def test_python_dash_m_is_the_same_program() -> None:
    command = [sys.executable, "-m", "zcbench", "show", "snipp"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == "zcbench: Unknown proxy 'snipp'. Did you mean snip?\n"


def test_list_proxies_as_table_and_as_json() -> None:
    rows = json.loads(invoke("list", "proxies", "--json").stdout)
    names = [row["name"] for row in rows]
    assert {"snip", "zen", "params"} <= set(names)
    table = invoke("list", "proxies").stdout.splitlines()
    assert table[0].split() == list(rows[0])
    assert [line.split()[0] for line in table[1:]] == names
    snip = next(row for row in rows if row["name"] == "snip")
    assert snip["reference"] == "lee2019snip"
    assert snip["passes"] == ["forward", "loss_backward"]
    baselines = {row["name"] for row in rows if row["baseline"]}
    structure = {"avg_degree", "n_relus", "op_balance"}
    assert baselines == {"params", "flops", "n_layers", *structure}


@pytest.mark.parametrize("kind", ["spaces", "datasets", "truths"])
def test_other_lists(kind: str) -> None:
    result = invoke("list", kind)
    assert result.exit_code == 0
    assert "toy" in result.stdout
    assert json.loads(invoke("list", kind, "--json").stdout)


def test_show_explains_a_proxy_by_any_of_its_names() -> None:
    by_name, by_alias = invoke("show", "nwot").stdout, invoke("show", "naswot").stdout
    assert by_name == by_alias
    assert by_name.startswith("nwot\n")
    assert "mellor2021neural" in by_name
    assert "ActivationKernel" in by_name
    assert "activations.py:" in by_name


PLUGIN = """
import zcbench

@zcbench.proxy(reference="me")
def my_own(g: zcbench.Gradients) -> float:
    '''Mine. Higher is better.'''
    return 2.0
"""


@pytest.fixture
def plugin(tmp_path: Path) -> object:
    from zcbench import plugins
    from zcbench.proxies import PROXIES

    before = set(PROXIES.names())
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN)
    yield file
    for name in set(PROXIES.names()) - before:
        PROXIES.remove(name)
    plugins._loaded.clear()


def test_a_plugin_is_listed_shown_and_run(plugin: Path, tmp_path: Path) -> None:
    listed = invoke("list", "proxies", "--plugin", plugin).stdout
    assert "Mine. Higher is better." in listed
    assert f"{plugin}:4" in invoke("show", "my_own", "--plugin", plugin).stdout
    out = ["--plugin", plugin, "--proxies", "my_own", "--n", 5, "--out", tmp_path / "r"]
    result = invoke("run", *QUICK[:-2], *out)
    assert result.exit_code == 0, result.output
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert list(manifest["plugins"]) == ["my_own"]


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("x = (", 2, "mine.py, line 1 raises SyntaxError"),
        ("\nraise ValueError('no')", 2, "mine.py, line 2 raises ValueError: no."),
        (PLUGIN.replace("my_own", "snip"), 2, "The proxy name 'snip' is already taken"),
        (PLUGIN + "\n1 / 0\n", 2, "mine.py, line 9 raises ZeroDivisionError"),
    ],
)
def test_broken_plugins(plugin: Path, text: str, code: int, message: str) -> None:
    plugin.write_text(text)
    result = invoke("run", *QUICK, "--plugin", plugin)
    assert result.exit_code == code
    assert message in last_line(result)
    assert result.stderr.count("\n") == 1
    plugin.write_text(PLUGIN)  # corrected, it loads: nothing of it was left behind
    assert invoke("show", "my_own", "--plugin", plugin).exit_code == 0


def test_plugins_that_are_no_python(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    words = ["show", "snip", "--plugin"]
    assert invoke(*words, tmp_path / "notes.txt").exit_code == 2
    assert "is not a file" in invoke(*words, tmp_path).stderr


def _complete(words: str, number: int) -> list[str]:
    environ = os.environ | {
        "_ZCBENCH_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(number),
    }
    program = "import sys; sys.argv = ['zcbench']; import zcbench.cli as c; c.main()"
    command = [sys.executable, "-c", program]
    result = subprocess.run(
        command, env=environ, capture_output=True, text=True, check=False
    )
    return [line.partition(",")[2] for line in result.stdout.splitlines()]


def test_completion_of_names() -> None:
    assert _complete("zcbench run --proxies syn", 3) == ["synflow"]
    assert _complete("zcbench run --proxies snip,sy", 3) == ["snip,synflow"]
    assert _complete("zcbench run --space toy", 3) == ["toy"]
    assert _complete("zcbench run --space toy --datasets t", 5) == ["toy"]
    assert _complete("zcbench run --datasets cifar", 3) == ["cifar10", "cifar100"]
    assert _complete("zcbench sh", 1) == ["show"]


@pytest.mark.thorough
def test_doctor_finds_this_installation_in_order() -> None:
    result = invoke("doctor")
    assert result.exit_code == 0, result.output
    assert f"zcbench {zcbench.__version__}" in result.stdout
    assert re.search(r"(\d+) of \1 proxies score toy 26", result.stdout)
    assert "BROKEN" not in result.stdout


def test_doctor_says_what_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    from zcbench.cli import doctor

    def failing() -> object:
        raise RuntimeError("no such thing")
        yield

    monkeypatch.setattr(doctor, "_CHECKS", {"something": failing})
    result = invoke("doctor")
    assert result.exit_code == 1
    assert result.stdout == "something  BROKEN: RuntimeError: no such thing\n"
    assert "1 of these checks failed" in result.stderr
