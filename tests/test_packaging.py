"""The wheel: one top-level name, and a program that runs from anywhere."""

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from server import version

ROOT = Path(__file__).parents[1]

LAYERS = ("machines", "engine", "server", "transcripts")
"""Directories that the wheel carries whole."""

PACKAGED = ("pyproject.toml", "README.md", "LICENSE", "bench", *LAYERS)
"""What a build reads."""

SHELL = ROOT / "server" / "cli" / "shell"

SHARED = {
    "man/man1/turntape.1": "turntape.1",
    "bash-completion/completions/turntape": "turntape.bash",
    "zsh/site-functions/_turntape": "_turntape",
    "fish/vendor_completions.d/turntape.fish": "turntape.fish",
}
"""Where shells and `man` look, below `share/`, and what they find there."""


def run(*command: str | Path, directory: Path) -> str:
    """What a command says that ends well."""
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, built in a copy of it."""
    copy = tmp_path_factory.mktemp("checkout")
    without_caches = shutil.ignore_patterns("__pycache__", ".*")
    for name in PACKAGED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=without_caches)
        else:
            shutil.copy(ROOT / name, copy)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", directory=copy)
    (built,) = (copy / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that has the wheel, and borrows what it depends on."""
    place = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(place, symlinks=True)
    (site_packages,) = place.glob("lib/python*/site-packages")
    (site_packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = place / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--no-deps", "--no-index", wheel, directory=place)
    return python.parent


def test_turntape_is_the_only_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name.partition("/")[0] for name in archive.namelist()}
    own = f"turntape-{version.VERSION}"
    assert names == {"turntape", f"{own}.dist-info", f"{own}.data"}  # of data: what is in share/


def test_what_runs_and_what_it_plays_is_in_it_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    app = {name.removeprefix("turntape/_app/") for name in names if "/_app/" in name}
    sources = {
        path.relative_to(ROOT).as_posix()
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    launcher = {name for name in sources if name.startswith("server/launcher/")}
    sources -= launcher  # they are the package `turntape` itself
    own = {name for name in names if name.startswith("turntape/") and "/_app/" not in name}
    assert own == {name.removeprefix("server/launcher/") for name in launcher}
    assert app == sources | {"bench/__init__.py", "bench/load.py"}
    licences = f"turntape-{version.VERSION}.dist-info/licenses"
    vendor = f"{licences}/server/ui/page/vendor"
    assert {f"{licences}/LICENSE", f"{vendor}/LICENSE-htm", f"{vendor}/LICENSE-preact"} <= names


def test_the_manual_page_and_the_completions_are_installed(installed: Path) -> None:
    share = installed.parent / "share"
    for place, name in SHARED.items():
        assert (share / place).read_bytes() == (SHELL / name).read_bytes()


def test_it_says_its_version_from_anywhere(installed: Path) -> None:
    command = (installed / "python", "-I", installed / "turntape", "--version")
    assert run(*command, directory=Path("/")) == f"turntape {version.VERSION}\n"


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("-n", "2"), ("-p", "no:turntape", "--collect-only")])
def test_the_tests_of_the_example_project_run_with_it(
    installed: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    example = ROOT / "docs" / "examples" / "pytest-project"
    copy = shutil.copytree(example, tmp_path / "example")
    options = ("-q", "-p", "no:cacheprovider", *more)
    said = run(installed / "python", "-m", "pytest", *options, directory=Path(copy))
    assert "5 tests collected" in said if "--collect-only" in more else "5 passed" in said


def test_it_runs_as_a_module_beside_a_package_of_the_same_name(
    installed: Path, tmp_path: Path
) -> None:
    for name in ("server", "engine", "machines"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('not this one')\n")
    said = run(installed / "python", "-m", "turntape", "--version", directory=tmp_path)
    assert said == f"turntape {version.VERSION}\n"


def test_it_runs_the_demo_from_anywhere(installed: Path) -> None:
    command = (installed / "python", "-I", installed / "turntape", "demo", "--once", "--port", "0")
    assert "the same steps and the same bytes" in run(*command, directory=Path("/"))


def test_it_runs_the_code_of_the_wheel(installed: Path) -> None:
    show = (
        "import os, sys, turntape; sys.argv[1:] = ['config']; end = os._exit; "
        "show = lambda: print(sys.modules['engine'].__file__, flush=True); "
        "os._exit = lambda status: (show(), end(status)); turntape.main()"
    )
    shown = run(installed / "python", "-I", "-c", show, directory=Path("/"))
    assert shown.endswith("/site-packages/turntape/_app/engine/__init__.py\n")
