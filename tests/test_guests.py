"""Plug-ins that end, hang, fork, print, or change what is not theirs."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import zcbench
from zcbench import plugins
from zcbench.cli import main
from zcbench.evaluate import evaluate
from zcbench.evidence.records import FreshNetwork, Gradients
from zcbench.minibatch import open_source
from zcbench.plan import make_plan
from zcbench.proxies import PROXIES
from zcbench.spaces import SPACES
from zcbench.state import look
from zcbench.types import Proxy

HEAD = """
import os, random, signal, subprocess, sys, threading, time, warnings
import numpy as np
import torch
import zcbench
from zcbench import FreshNetwork, Gradients, InputCorrelation, Structure

def total(g):
    return float(sum(d.abs().sum() for d in g.grads))

class Own(BaseException):
    pass

class Mute(Exception):
    def __str__(self):
        raise ValueError("nothing to say")
"""
DEATHS = {
    "sys.exit()": "SystemExit: ",
    "sys.exit(0)": "SystemExit: 0",
    "raise GeneratorExit": "GeneratorExit: ",
    "raise KeyboardInterrupt": "KeyboardInterrupt: ",
    "raise Own('mine')": "Own: mine",
    "raise Mute": "Mute: (its text cannot be had: ValueError)",
    "raise RuntimeError('\\ud800')": "RuntimeError: ?",
    "return total": "TypeError: the proxy returned function, not a number",
    "os._exit(0)": "the proxy ended the process with exit code 0",
    "os._exit(7)": "the proxy ended the process with exit code 7",
    "os.abort()": "the proxy was ended by SIGABRT",
    "os.kill(os.getpid(), signal.SIGKILL)": "the proxy was ended by SIGKILL",
    "signal.pthread_kill(threading.get_ident(), signal.SIGTERM); time.sleep(9)": (
        "the proxy was ended by SIGTERM"
    ),
    "__import__('ctypes').string_at(0)": "the proxy was ended by SIGSEGV",
    "os.closerange(3, 99)": "the proxy closed the files of its process",
    "[time.sleep(999) for _ in [0] if not os.fork()]; os._exit(3)": (
        "the proxy ended the process with exit code 3"
    ),
}
"""Body of a proxy → the message of its score."""
CHANGES = {
    "os.fork()": "the processes (a fork of it is still there)",
    "torch.set_default_dtype(torch.float64)": "torch's default dtype",
    "torch.set_default_device('meta')": "torch's default device",
    "torch.device('meta').__enter__()": "torch's function modes",
    "torch.set_num_threads(3)": "torch's number of threads",
    "torch.use_deterministic_algorithms(True)": "torch's deterministic algorithms",
    "torch.set_grad_enabled(False)": "torch's gradient mode",
    "Own.kept = torch.inference_mode(); Own.kept.__enter__()": (
        "torch's inference mode and torch's gradient mode"
    ),
    "torch.autocast('cpu').__enter__()": "torch's autocast",
    "torch.autograd.set_detect_anomaly(True)": "torch's anomaly detection",
    "torch.set_flush_denormal(True)": "how torch treats denormal numbers",
    "torch.backends.cudnn.benchmark = True": "torch.backends.cudnn.benchmark",
    "torch.backends.cudnn.allow_tf32 = True": "torch.backends.cudnn.allow_tf32",
    "torch.backends.cudnn.deterministic = True": "torch.backends.cudnn.deterministic",
    "np.seterr(all='raise')": "numpy's error state",
    "warnings.simplefilter('error')": "the warnings filters",
    "os.environ['OMP_NUM_THREADS'] = '9'": "os.environ",
    "os.chdir('/')": "the current folder",
    "sys.setrecursionlimit(77777)": "the recursion limit",
    "sys.stderr = None": "the streams",
    "os.close(1)": "the streams",
    "os.dup2(os.open(os.devnull, os.O_WRONLY), 2)": "the streams",
    "signal.signal(signal.SIGINT, signal.SIG_DFL)": "the signal handlers or the alarm",
    "signal.alarm(1)": "the signal handlers or the alarm",
    "torch.nn.modules.module.register_module_forward_hook(lambda m, x, y: y * 2)": (
        "torch's hooks of all modules"
    ),
    "torch.nn.modules.module.register_module_full_backward_hook(lambda *_: 1 / 0)": (
        "torch's hooks of all modules"
    ),
    "torch.autograd.graph.saved_tensors_hooks(torch.zeros_like, total).__enter__()": (
        "torch's hooks of saved tensors"
    ),
    "torch.autograd.forward_ad.enter_dual_level()": "torch's forward differentiation",
    "torch._C._functorch._grad_increment_nesting()": "torch's transformations",
    "del sys.modules['zcbench.evidence'], sys.modules['torch.nn']": "sys.modules",
    "g.grads[0].fill_(9)": "its evidence (Gradients)",
    "g.weights[0].data.mul_(2)": "its evidence (Gradients)",
    "g.grads[0].numpy()[:] = 3": "its evidence (Gradients)",
    "g.grads[0].resize_(1)": "its evidence (Gradients)",
    "object.__setattr__(g, 'grads', g.weights)": "its evidence (Gradients)",
}
"""Body of a proxy → what its message says that it changed."""
FINE = (
    "print('printed'); os.write(1, b'written'); os.system('echo echoed')",
    "t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()",
    "random.seed(1); np.random.seed(1); torch.manual_seed(1)",
    "os.waitpid(os.fork() or os._exit(0), 0)",
    "sys.stdout = None",
    "threading.Timer(99, os._exit, [5]).start()",
    "subprocess.Popen(['sleep', '999'])",
)
"""Bodies that do nothing to others."""


def source(bodies: list[str], prefix: str) -> str:
    """A plug-in with a proxy of each body."""
    return HEAD + "".join(
        f"\n@zcbench.proxy(reference='me')\ndef {prefix}_{i}(g: Gradients) -> float:\n"
        f"    'Strange. Higher is better.'\n    {body}\n    return total(g)\n"
        for i, body in enumerate(bodies)
    )


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """Plug-ins of a test are taken out again."""
    registries = (PROXIES, SPACES)
    before = [set(registry.names()) for registry in registries]
    yield
    for registry, names in zip(registries, before, strict=True):
        for name in set(registry.names()) - names:
            registry.remove(name)
    plugins._loaded.clear()


def zcbench_in(folder: Path, *words: str) -> Result:
    with contextlib.chdir(folder):
        return CliRunner().invoke(main, words)


def lines_of(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "run" / "scores.jsonl").read_text().splitlines()
    return sorted(map(json.loads, lines), key=lambda line: line["index"])


def words_of(folder: Path, text: str, proxies: str, *words: str) -> tuple[str, ...]:
    """`zcbench run` of a plug-in on two toy networks, or others."""
    (folder / "odd.py").write_text(text, encoding="utf-8")
    options = ("--space", "toy", "--n", "2", "--minibatch", "builtin", "--out", "run")
    options = () if "--space" in words else options
    return ("run", *options, "--plugin", "odd.py", "--proxies", proxies, *words)


def run_of(
    folder: Path, text: str, proxies: str, *words: str
) -> tuple[Result, list[dict[str, Any]]]:
    """What it said, and its lines."""
    done = zcbench_in(folder, *words_of(folder, text, proxies, *words))
    assert done.exit_code in (0, 4), done.output
    return done, lines_of(folder)


BUILT_IN = "snip,zen,jacov,plain,nngp"


@pytest.fixture(scope="module")
def peaceful(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """Scores of the built-in proxies where nobody else is."""
    done, lines = run_of(tmp_path_factory.mktemp("peace"), "", BUILT_IN)
    assert done.exit_code == 0, done.output
    return [line["scores"] for line in lines]


def check_others(lines: list, peaceful: list[dict[str, float]]) -> None:
    assert len(lines) == 2
    for line, scores in zip(lines, peaceful, strict=True):
        assert {name: line["scores"][name] for name in scores} == scores


def test_what_ends_or_hangs_is_an_error_of_its_own(
    tmp_path: Path, peaceful: list
) -> None:
    names = [f"death_{i}" for i in range(len(DEATHS))]
    text, proxies = source(list(DEATHS), "death"), ",".join([*names, BUILT_IN])
    done, lines = run_of(tmp_path, text, proxies, "--workers", "1")
    assert done.exit_code == 0, done.output
    check_others(lines, peaceful)
    for line in lines:
        failed = {n: s for n, s in line["status"].items() if n in names}
        assert failed == dict.fromkeys(names, "error")
        assert [line["messages"][name] for name in names] == list(DEATHS.values())


def test_what_changes_more_than_its_score_is_an_error_of_its_own(
    tmp_path: Path, peaceful: list
) -> None:
    names = [f"change_{i}" for i in range(len(CHANGES))]
    proxies = ",".join([*names, BUILT_IN])  # guests named first
    done, lines = run_of(tmp_path, source(list(CHANGES), "change"), proxies)
    assert done.exit_code == 0, done.output
    check_others(lines, peaceful)
    for line in lines:
        told = [line["messages"].get(name) for name in names]
        for what, said in zip(CHANGES.values(), told, strict=True):
            assert str(said).startswith(f"the proxy changed {what}")
        assert {line["status"][name] for name in names} == {"error"}


def test_what_only_looks_strange_is_fine(tmp_path: Path, peaceful: list) -> None:
    names = [f"fine_{i}" for i in range(len(FINE))]
    proxies = ",".join([*names, BUILT_IN])
    words = words_of(tmp_path, source(list(FINE), "fine"), proxies)
    command = [sys.executable, "-m", "zcbench", *words]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = lines_of(tmp_path)
    check_others(lines, peaceful)
    for line in lines:
        assert len({line["scores"][name] for name in names}) == 1
    assert "\n\ntoy · toy · validation accuracy" in done.stdout
    for word in ("printed", "written", "echoed"):
        assert word not in done.stdout
        assert word in done.stderr
    commands = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True)
    assert "sleep 999" not in commands.stdout  # it ended with its worker


def test_a_death_after_the_score_costs_nobody_a_score(
    tmp_path: Path, peaceful: list
) -> None:
    """A thread ends the process while others are scored."""
    bodies = ["threading.Timer(0.05, os._exit, [0]).start()", "time.sleep(0.2)"]
    proxies = f"late_0,late_1,{BUILT_IN}"
    done, lines = run_of(tmp_path, source(bodies, "late"), proxies)
    assert done.exit_code == 0, done.output
    check_others(lines, peaceful)
    assert all("late_1" not in line["status"] for line in lines)


def test_what_hangs_is_ended(tmp_path: Path) -> None:
    text = source(["time.sleep(999)"], "hang")
    options = ("--timeout", "4", "--strict", "--space", "toy", "--n", "1")
    done, (line,) = run_of(tmp_path, text, "hang_0,params", *options, "--out", "run")
    assert done.exit_code == 4
    assert "1 score without a value in run." in done.stderr
    assert line["status"] == {"hang_0": "error"}
    assert line["messages"] == {"hang_0": "the proxy took longer than 4 s"}


FRESH = """
@zcbench.proxy(reference='me')
def fresh_{name}(f: FreshNetwork) -> float:
    'Strange. Higher is better.'
    {body}
    return float(f.loss(f.network(f.batch.x), f.batch.y).detach())
"""
FRESH_BODIES = {
    "first": "torch.manual_seed(7); f.network.add_module('more', torch.nn.ReLU())",
    "weights": "[p.data.zero_() for p in f.network.parameters()]",
    "images": "f.batch.x.zero_()",
    "labels": "f.batch.y.zero_()",
    "memory": "torch.empty(10**13)",
    "last": "f.network.eval(); f.network.train()",
}


def test_fresh_networks_of_guests_are_their_own(tmp_path: Path, peaceful: list) -> None:
    text = HEAD + "".join(FRESH.format(name=n, body=b) for n, b in FRESH_BODIES.items())
    names = ",".join(f"fresh_{name}" for name in FRESH_BODIES)
    done, lines = run_of(tmp_path, text, f"{names},{BUILT_IN}")
    assert done.exit_code == 0, done.output
    check_others(lines, peaceful)
    for line in lines:
        assert line["scores"]["fresh_first"] == line["scores"]["fresh_last"]
        assert line["scores"]["fresh_weights"] != line["scores"]["fresh_first"]
        for name in ("images", "labels"):
            message = line["messages"][f"fresh_{name}"]
            assert message == "the proxy changed its evidence (FreshNetwork)"
        assert line["status"]["fresh_memory"] == "oom"


@pytest.mark.parametrize(
    ("body", "failed", "said"),
    [
        ("sys.exit(0)", "finite", "SystemExit: 0"),
        ("raise Own", "finite", "Own"),
        ("os._exit(0)", "process", "the proxy ended the process with exit code 0"),
        ("time.sleep(999)", "process", "the proxy took longer than 6 s"),
        ("os.fork()", "leaves others alone", "a fork of it is still there"),
        ("torch.set_grad_enabled(False)", "leaves others alone", "gradient mode"),
        ("g.grads[0].zero_()", "leaves others alone", "its evidence (Gradients)"),
        ("print('printed')", None, ""),
    ],
)
def test_check_says_what_is_odd(
    tmp_path: Path, body: str, failed: str | None, said: str
) -> None:
    (tmp_path / "odd.py").write_text(source([body], "odd"), encoding="utf-8")
    done = zcbench_in(tmp_path, "check", "odd.py", "--quick", "--timeout", "6")
    assert done.exit_code == (1 if failed else 0), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "odd_0"
    bad = {line[8:30].strip(): line[30:] for line in lines if line[2:6] == "FAIL"}
    assert (failed in bad and said in bad[failed]) if failed else not bad
    assert "printed" not in done.stdout


@pytest.mark.parametrize("command", [("run", "--plugin"), ("check",)])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import os; os._exit(0)", "ended the process with exit code 0 when it was"),
        ("import sys; sys.exit(0)", "odd.py, line 1 raises SystemExit: 0."),
        ("raise GeneratorExit", "odd.py, line 1 raises GeneratorExit: ."),
        ("import os; os.abort()", "was ended by SIGABRT when it was loaded."),
        ("import sys; sys.stdout.close()", "changes the streams for good. Correct"),
        ("import os; os.close(1); os.close(2)", "changes the streams for good."),
        (
            "import torch\nm = torch.inference_mode(); m.__enter__()",
            "odd.py: It changes torch's inference mode for good. Correct it.",
        ),
    ],
)
def test_a_plug_in_that_ends_when_it_is_loaded_is_refused(
    tmp_path: Path, command: tuple[str, ...], text: str, said: str
) -> None:
    (tmp_path / "odd.py").write_text(text, encoding="utf-8")
    done = zcbench_in(tmp_path, *command, "odd.py")
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_plug_in_that_sets_things_when_it_is_loaded(
    tmp_path: Path, peaceful: list
) -> None:
    bodies = [body for body in CHANGES if body.startswith(("torch.set_", "np."))]
    text = "\n".join([HEAD, "print('printed')", *bodies, source(["pass"], "late")])
    text += "sys.modules.clear()\n"
    done, lines = run_of(tmp_path, text, f"late_0,{BUILT_IN}")
    assert done.exit_code == 0, done.output
    check_others(lines, peaceful)
    assert "printed" not in done.stdout
    assert not any("late_0" in line["status"] for line in lines)


DEADLY_SPACE = """
import os
from zcbench.spaces import SPACES

class Deadly(type(SPACES.get("toy"))):
    '''The toy space, of which a network cannot be built.'''
    name = "deadly"

    def build(self, arch, *args, **kwargs):
        if arch.index == 3:
            os._exit(0)
        return super().build(arch, *args, **kwargs)

SPACES.add("deadly", Deadly())
"""


def test_a_space_that_ends_the_process(tmp_path: Path) -> None:
    (tmp_path / "archs").write_text("2\n3\n4\n")
    words = ("--space", "deadly", "--archs", "archs", "--truth", "none", "--strict")
    done, lines = run_of(tmp_path, DEADLY_SPACE, "snip", *words, "--out", "run")
    assert done.exit_code == 4
    assert [line["index"] for line in lines] == [2, 3, 4]
    assert [line["status"] for line in lines] == [{}, {"snip": "error"}, {}]
    assert lines[1]["messages"]["snip"] == (
        "the worker process died twice on this network (it ended the process with exit "
        "code 0)"
    )


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon"])
def test_a_limit_that_is_none(tmp_path: Path, value: str) -> None:
    done = zcbench_in(tmp_path, "run", "--space", "toy", "--timeout", value)
    assert done.exit_code == 2
    assert "timeout must be seconds above 0, 'auto' or 'none'" in done.stderr


def test_a_limit_without_plug_ins_changes_no_score(
    tmp_path: Path, peaceful: list
) -> None:
    done, lines = run_of(tmp_path, "", BUILT_IN, "--timeout", "100")
    assert done.exit_code == 0, done.output
    check_others(lines, peaceful)


def guest(function: Any) -> Proxy:
    """A proxy that was typed in, and is registered nowhere."""
    return Proxy(function.__name__, function, "me", origin="<stdin>")


@pytest.fixture(scope="module")
def toy() -> tuple[Any, zcbench.Batch]:
    space = zcbench.load_space("toy")
    return space, open_source("builtin", space.tasks["toy"]).batch(8, seed=0)


def score_with(toy: tuple[Any, zcbench.Batch], function: Any) -> zcbench.Score:
    """Its score, after a look at what it may not change: state, and other scores."""
    space, batch = toy
    others = PROXIES.select("snip,zen,jacov")
    alone, beside = (
        evaluate(space.build(space.architecture(26), "toy"), batch, plan).scores
        for plan in (make_plan(others), make_plan([guest(function), *others]))
    )
    assert all(alone[p.name].value == beside[p.name].value for p in others)
    return beside[function.__name__]


class Stop(BaseException):
    pass


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, Stop, MemoryError])
def test_in_python_whatever_a_guest_raises_is_its_status(
    toy: tuple[Any, zcbench.Batch], error: type[BaseException]
) -> None:
    def raises(g: Gradients) -> float:
        raise error

    score = score_with(toy, raises)
    assert score.status == ("oom" if error is MemoryError else "error")
    assert score.message.startswith("" if error is MemoryError else error.__name__)


def test_in_python_an_interrupt_is_the_users(toy: tuple[Any, zcbench.Batch]) -> None:
    def interrupted(g: Gradients) -> float:
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError

    with pytest.raises(KeyboardInterrupt):
        score_with(toy, interrupted)


def test_in_python_state_is_restored(toy: tuple[Any, zcbench.Batch]) -> None:
    def changes(g: Gradients) -> float:
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(2)
        torch.set_grad_enabled(False)
        torch.manual_seed(5)
        random.seed(5)
        np.seterr(all="raise")
        warnings.simplefilter("ignore")
        os.environ["ZCBENCH_NOTHING"] = "1"
        os.chdir("/")
        os.fork()
        return 1.0

    before = look(), torch.get_rng_state().sum(), random.getstate()
    score = score_with(toy, changes)
    assert (look(), torch.get_rng_state().sum(), random.getstate()) == before
    assert score.status == "error"
    assert score.message == (
        "the proxy changed the current folder and the warnings filters and os.environ "
        "and numpy's error state and torch's default dtype and torch's number of "
        "threads and torch's gradient mode and the processes (a fork of it is still "
        "there)"
    )


def test_guests_find_the_same_random_numbers_wherever_they_stand(
    toy: tuple[Any, zcbench.Batch],
) -> None:
    def draws(f: FreshNetwork) -> float:
        return float(torch.rand(())) + random.random()

    def draws_too(g: Gradients) -> float:
        return draws(g)

    space, batch = toy
    plans = [[draws_too], [draws, draws_too], [draws_too, draws]]
    found = {
        evaluate(
            space.build(space.architecture(26), "toy"),
            batch,
            make_plan([guest(f) for f in plan]),
            seed=3,
        )
        .scores["draws_too"]
        .value
        for plan in plans
    }
    assert len(found) == 1
