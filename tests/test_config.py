"""Configuration: sources, precedence, messages."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zcbench.config import KEYS, RunConfig, load_config, option_name
from zcbench.errors import DataError, UsageError, ZcbenchError

CONFIGS = Path(__file__).parent.parent / "configs"


def _toml(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "some.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults() -> None:
    config = load_config()
    assert config == RunConfig()
    assert (config.space, config.n, config.batch_size) == ("nb201", 100, 64)
    assert (config.datasets, config.proxies) == (("all",), ("all",))


def test_command_line_beats_environment_beats_file_beats_default(
    tmp_path: Path,
) -> None:
    file = _toml(tmp_path, 'n = 1\nseed = 1\nrepeats = 1\nspace = "toy"\n')
    environ = {"ZCBENCH_N": "2", "ZCBENCH_SEED": "2", "HOME": "/"}
    config = load_config({"n": "3"}, file=file, environ=environ)
    assert (config.n, config.seed, config.repeats) == (3, 2, 1)
    assert (config.space, config.batch_size) == ("toy", 64)


def test_values_are_typed_whatever_the_source(tmp_path: Path) -> None:
    text = 'proxies = ["a", "b,c"]\ndatasets = "x, y"\nbatch-size = 8\nout = "o"\n'
    from_file = load_config(file=_toml(tmp_path, text))
    environ = {
        "ZCBENCH_PROXIES": "a,b,c",
        "ZCBENCH_DATASETS": "x,y",
        "ZCBENCH_BATCH_SIZE": "8",
        "ZCBENCH_OUT": "o",
    }
    from_environment = load_config(environ=environ)
    from_options = load_config(
        {"proxies": ("a", "b,c"), "datasets": ("x,y",), "batch_size": "8", "out": "o"}
    )
    assert from_file == from_environment == from_options
    assert from_file.proxies == ("a", "b", "c")
    assert from_file.out == Path("o")


def test_empty_environment_variables_and_those_of_others_are_ignored() -> None:
    environ = {
        "ZCBENCH_N": "",
        "ZCBENCH_CACHE": "/x",
        "ZCBENCH_SHARED_DATA": "/y",
        "ZCBENCH_DEBUG": "1",
    }
    assert load_config(environ=environ) == RunConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("proxis = 'all'", "Unknown key of some.toml 'proxis'. Did you mean proxies?"),
        ("batchsize = 3", "Unknown key of some.toml 'batchsize'. Did you mean "),
        ("n = 0", "n in some.toml must be a whole number of at least 1 or 'all', not"),
        ("n = true", "not 'True'."),
        ("n = 1.5", "not '1.5'."),
        ("batch-size = 1", "batch-size in some.toml must be a whole number from 2 to"),
        ("seed = -1", "seed in some.toml must be a whole number from 0 to "),
        ("target = 1", "target in some.toml must be a name, not '1'."),
        ("overwrite = 3", "Unknown overwrite in some.toml '3'. Known: always, never,"),
        (
            "device = 'gpu'",
            "device in some.toml must be auto, cpu, cuda, cuda:1 or mps",
        ),
        ("proxies = [1]", "proxies in some.toml must be a list of names, not '[1]'."),
        ("proxies = []", "proxies in some.toml must be a list of names, not '[]'."),
        ("strict = 'maybe'", "strict in some.toml must be true or false, not 'maybe'."),
        ("space = ''", "space in some.toml must be a name, not ''."),
        ("plugin = 3", "plugin in some.toml must be a list of paths, not '3'."),
        ("archs = 3", "archs in some.toml must be a path, not '3'."),
    ],
)
def test_bad_values_in_a_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(file=_toml(tmp_path, text))
    assert message in str(caught.value)


def test_labels_name_the_source() -> None:
    with pytest.raises(UsageError, match=r"^--batch-size must be a whole number"):
        load_config({"batch_size": "many"})
    with pytest.raises(UsageError, match=r"^ZCBENCH_BATCH_SIZE must be a whole number"):
        load_config(environ={"ZCBENCH_BATCH_SIZE": "many"})
    with pytest.raises(
        UsageError, match=r"'ZCBENCH_SEDE'\. Did you mean ZCBENCH_SEED\?"
    ):
        load_config(environ={"ZCBENCH_SEDE": "1"})
    with pytest.raises(UsageError, match=r"^batch_size must be a whole number"):
        RunConfig(batch_size=0)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.toml cannot be read: No such file"):
        load_config(file=tmp_path / "none.toml")
    with pytest.raises(DataError, match=r"some\.toml cannot be read: .*line 1"):
        load_config(file=_toml(tmp_path, "n = \n"))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"binary\.toml cannot be read"):
        load_config(file=binary)


def test_a_manifest_is_a_configuration(tmp_path: Path) -> None:
    file = tmp_path / "manifest.json"
    config = {"space": "toy", "n": 5, "archs": None, "proxies": ["snip"], "plugin": []}
    file.write_text(json.dumps({"schema": 1, "config": config}), encoding="utf-8")
    assert load_config(file=file) == RunConfig(space="toy", n=5, proxies=("snip",))
    config["archs"] = "archs.txt"
    file.write_text(json.dumps({"schema": 1, "config": config}), encoding="utf-8")
    assert load_config(file=file).archs == tmp_path / "archs.txt"


@pytest.mark.parametrize("text", ["{}", "[]", '{"config": 3}', "nonsense", "[" * 9999])
def test_other_json_is_no_configuration(tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError):
        load_config(file=file)


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.toml")), ids=lambda f: f.stem)
def test_shipped_configurations_are_valid(file: Path) -> None:
    spaces = load_config(file=file).space.split(",")
    assert set(spaces) <= {"nb201", "macro", "fcnet"}


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(
    st.dictionaries(
        st.sampled_from([*KEYS, *map(option_name, KEYS)]) | st.text(),
        _SCALARS | st.lists(_SCALARS, max_size=3),
        max_size=4,
    )
)
def test_anything_is_a_configuration_or_one_of_our_errors(
    options: dict[str, object],
) -> None:
    with contextlib.suppress(ZcbenchError):
        assert isinstance(load_config(options), RunConfig)
