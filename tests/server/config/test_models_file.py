"""The file of models: what it may say, what it must not, and how an operator hears of it."""

from pathlib import Path

import pytest

from engine.routing.fleet import Rule
from engine.routing.timeouts import Timeouts
from server.chat import request as chatbodies
from server.config import load as configuration, models_file
from server.config.models_file import ModelsFileError
from tests.support.process import serving

DOCS = Path(__file__).parents[3] / "docs"
HOME = {"HOME": "/home/operator"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "turntape.toml"


def load(path: Path, text: str, environ: dict[str, str] | None = None) -> configuration.Config:
    path.write_text(text)
    loaded, warnings = configuration.load(
        {**HOME, **(environ or {})},
        {"models_file": str(path)},
        check_default=chatbodies.default_problem,
    )
    assert warnings == []
    return loaded


def test_the_example_of_the_documentation_is_read() -> None:
    example = DOCS / "turntape.toml"
    rules = models_file.load(example, "codex")
    assert rules == {
        "small": Rule(
            worker="upstream",
            model="qwen2.5-7b-instruct",
            defaults={"temperature": 0.2, "max_tokens": 512},
            fallback="codex-5-low",
            timeouts=Timeouts(first_chunk_ms=5000),
        ),
        "team/reviewer": Rule(worker="codex", model="gpt-5.5", effort="high", fallback="small"),
    }
    page = (DOCS / "models.md").read_text(encoding="utf-8")
    assert f"```toml\n{example.read_text(encoding='utf-8')}```\n" in page


def test_everything_may_be_left_out(path: Path) -> None:
    assert load(path, "[models]\n").models == {}
    assert load(path, "[models.codex-5]\n").models == {"codex-5": Rule()}


def test_workers_that_are_named_run_beside_the_default(path: Path) -> None:
    text = '[models.a]\n[models.b]\nworker = "scripted"\n[models.c]\nworker = "upstream"\n'
    address = {"PROXY_UPSTREAM_URL": "http://h/v1"}
    assert load(path, text, address).workers() == ("codex", "scripted", "upstream")
    scripted = {**address, "PROXY_WORKER": "scripted"}
    assert load(path, text, scripted).workers() == ("scripted", "upstream")
    assert load(path, "[models.a]\n").workers() == ("codex",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "models: missing"),
        ("models = 3", "models: expected an object, but got an integer instead"),
        ("[model.a]", "model: unknown name"),
        ("[models.a", "is not TOML: Expected ']' at the end of a table declaration"),
        ("[models]\na = 3", "models.a: expected an object, but got an integer instead"),
        ('[models."a b"]', 'models."a b": string does not match pattern'),
        ('[models.""]', 'models."": string does not match pattern'),
        ('[models.a]\nworkr = "codex"', "models.a.workr: unknown name"),
        (
            '[models.a]\nworker = "gpt"',
            "models.a.worker: invalid value 'gpt'. Supported values are: 'codex'",
        ),
        ('[models."q/b"]\nmodel = 3', 'models."q/b".model: expected a string, but got an integer'),
        ('[models.a]\nmodel = ""', "models.a.model: string does not match pattern"),
        ('[models.a]\neffort = "very high"', "models.a.effort: "),
        (
            '[models.a]\nworker = "upstream"\neffort = "low"',
            "models.a.effort is Codex's; for others it is `reasoning_effort` among the defaults",
        ),
        (
            "[models.a]\ndefaults = [1]",
            "models.a.defaults: expected an object, but got an array instead",
        ),
        (
            "[models.a]\ndefaults = { stream = true }",
            "models.a.defaults.stream is for the client to say",
        ),
        (
            "[models.a]\ndefaults = { temperature = 0.2 }",
            "models.a.defaults.temperature: the codex worker has no such setting",
        ),
        (
            '[models.a]\ndefaults = { max_tokens = "many" }',
            "models.a.defaults.max_tokens: Invalid type for 'max_tokens'",
        ),
        (
            '[models.a]\nfallback = "a"',
            "models.a.fallback leads in a circle: a -> a",
        ),
        (
            '[models.a]\nfallback = "b"\n[models.b]\nfallback = "c"\n[models.c]\nfallback = "b"',
            "models.a.fallback leads in a circle: a -> b -> c -> b",
        ),
    ],
)
def test_refused(path: Path, text: str, problem: str) -> None:
    with pytest.raises(configuration.ConfigError) as refused:
        load(path, text)
    assert str(refused.value).startswith(f"{path}: {problem}")


def test_what_an_upstream_takes_is_for_it_to_judge(path: Path) -> None:
    text = '[models.a]\nworker = "upstream"\ndefaults = { top_k = 3, temperature = "warm" }'
    path.write_text(text)
    assert models_file.load(path, "codex")["a"].defaults == {"top_k": 3, "temperature": "warm"}


def test_a_file_that_is_not_there_or_not_text(path: Path) -> None:
    with pytest.raises(ModelsFileError, match=r"cannot be read: .*No such file"):
        models_file.load(path, "codex")
    path.write_bytes(b"\xff")
    with pytest.raises(ModelsFileError, match="cannot be read"):
        models_file.load(path, "codex")


def test_an_upstream_that_is_named_needs_an_address(path: Path) -> None:
    with pytest.raises(configuration.ConfigError, match="PROXY_UPSTREAM_URL: must be set"):
        load(path, '[models.a]\nworker = "upstream"\n')


def test_nothing_is_read_that_is_not_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("[models.a]\n")
    monkeypatch.chdir(path.parent)
    loaded, _ = configuration.load({**HOME, "PROXY_DATA_DIR": str(path.parent)})
    assert (loaded.models_file, loaded.models) == (None, {})


def test_config_shows_what_stands_behind_each_name(path: Path) -> None:
    text = """
[models.small]
worker = "upstream"
model = "qwen"
defaults = { temperature = 0.2, user = "secret" }
fallback = "codex-5"
[models."a.b"]
model = "codex-5"
effort = "high"
"""
    path.write_text(text)
    done = serving.command("config", "--models-file", str(path))
    assert (done.returncode, done.stderr) == (
        2,
        "turntape: PROXY_UPSTREAM_URL: must be set for the upstream worker\n",
    )
    loaded = load(path, text, {"PROXY_UPSTREAM_URL": "http://h/v1"})
    rows = [(row.name, row.value) for row in configuration.describe(loaded)]
    assert rows[-2:] == [
        ("models.small", "upstream: qwen, with temperature, user, else codex-5"),
        ('models."a.b"', "codex: codex-5, effort high"),
    ]
    assert ("PROXY_MODELS_FILE", str(path)) in rows


@pytest.mark.parametrize("command", ["config", "serve"])
def test_a_wrong_file_stops_the_start(path: Path, command: str) -> None:
    path.write_text("[models.a]\nfall_back = 1\n")
    done = serving.command(command, "--models-file", str(path))
    problem = f"turntape: {path}: models.a.fall_back: unknown name\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '[models.a]\nmodel = "gpt-4"\nworker = "codex"',
            (
                "models.a.model: the codex worker does not know 'gpt-4'; PROXY_CODEX_MODELS adds"
                " models to it"
            ),
        ),
        (
            '[models.a]\nmodel = "no-such-tape"',
            "models.a.model: the scripted worker does not know 'no-such-tape'",
        ),
        (
            '[models.a]\nmodel = "text-short"\nfallback = "no-such-tape"',
            (
                "models.a.fallback: 'no-such-tape' is neither in this file nor known to the"
                " scripted worker"
            ),
        ),
    ],
)
def test_a_name_that_nobody_knows_stops_the_start(path: Path, text: str, problem: str) -> None:
    path.write_text(text)
    arguments = ("--worker", "scripted", "--port", "0", "--log-dir", str(path.parent / "log"))
    done = serving.command("serve", "--models-file", str(path), *arguments)
    assert (done.returncode, done.stderr) == (2, f"turntape: {path}: {problem}\n")
