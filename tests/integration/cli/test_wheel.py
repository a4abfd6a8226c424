"""The wheel that pip, pipx and uv install: everything is in it, and its programs run from where it was installed.

Offline: built without isolation, and installed into an environment of its own that borrows this one's dependencies.
"""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from tests.arch.source import ROOT, SRC

LIMIT_S = 100


def run(*argv: str | Path, cwd: Path, code: int = 0) -> str:
    """Run a program with nothing of ours in its environment; return what it printed."""
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "COLUMNS": "100"}
    told = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert told.returncode == code, told.stdout + told.stderr
    return told.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", folder)
    run(sys.executable, "-m", "pip", "wheel", *options, ROOT, cwd=folder)
    (made,) = folder.glob("cortex_gateway-*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an environment with the wheel. A path in a .pth file is looked at last, and its own .pth files never."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        "--quiet",
        wheel,
        cwd=folder,
    )
    own = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    (own / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_every_file_of_the_package_is_in_the_wheel_and_nothing_else(wheel: Path) -> None:
    """Pages, styles and scripts of the dashboard, templates, workflows and migrations among them."""
    sources = {str(path.relative_to(SRC)) for path in (SRC / "cortex").rglob("*") if path.is_file()}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if not name.partition("/")[0].endswith(".dist-info")}
    assert packed == {name for name in sources if "__pycache__" not in name}
    for part in ("admin/dashboard/static/", "admin/dashboard/template/", "store/migration/versions/"):
        assert any(name.startswith(f"cortex/gateway/{part}") for name in packed), part


def test_its_programs_run_and_are_those_of_the_wheel(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "bin" / "python", "-c", "import cortex; print(cortex.__file__)", cwd=tmp_path)
    assert Path(where).is_relative_to(installed)
    version = run(installed / "bin" / "cortex", "--version", cwd=tmp_path).split()[-1]
    assert run(installed / "bin" / "cortex-neuron", "--version", cwd=tmp_path).split()[-1] == version
    assert "--model" in run(installed / "bin" / "cortex", "up", "--help", cwd=tmp_path)


def test_its_gateway_reads_a_configuration_and_makes_its_store(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "cortex.toml").write_text(
        '[store]\nurl = "sqlite:///cortex.db"\n\n[[neurons]]\nname = "beast"\nendpoint = "http://127.0.0.1:9"\n'
    )
    assert "beast" in run(installed / "bin" / "cortex", "check", cwd=tmp_path)
    assert "ctx-" in run(installed / "bin" / "cortex", "keys", "create", "first", "--admin", cwd=tmp_path)
    assert (tmp_path / "cortex.db").stat().st_size > 0


def test_its_neuron_says_what_it_would_offer(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "neuron.toml").write_text('[[harnesses]]\nname = "llamacpp"\n')
    assert "llamacpp" in run(installed / "bin" / "cortex-neuron", "check", cwd=tmp_path)
