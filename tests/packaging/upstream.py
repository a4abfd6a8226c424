"""A small stand-in for mistral.rs and CUTLASS, as git repositories on this machine, for what gathers and builds them.

What makes the real ones hard to package is there: a workspace with a git dependency, a ``.cargo/config.toml`` of its
own, and a build script that wants CUTLASS where cudaforge 0.1.5 keeps it, as a checkout whose HEAD is the right commit.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGING = Path(__file__).parents[2] / "packaging"
MISTRALRS = PACKAGING / "mistralrs"
OLDEST_CARGO = (1, 85)
"""What make-sources takes: crates of today want it, though those of the stand-in do not."""
TAKEN_FOR_NEW = """\
#!/bin/sh
[ "$1" != --version ] || exec echo "cargo 1.85.0"
exec {cargo} "$@"
"""
NEVER_IN_CI = {"nvcc"}
"""What is too large to be installed for every run: a CUDA toolkit has gigabytes."""

BUILD_SCRIPT = """
const CUTLASS_COMMIT: &str = "@CUTLASS@";
const OTHER_CUTLASS_COMMIT: &str = "@OTHER@";

fn main() {
    let home = std::env::var("CUDAFORGE_HOME").expect("no CUDAFORGE_HOME");
    for commit in [CUTLASS_COMMIT, OTHER_CUTLASS_COMMIT] {
        let folder = std::path::Path::new(&home).join("git/checkouts").join(format!("cutlass-{}", &commit[..16]));
        assert!(folder.join("include").exists(), "would clone {}", folder.display());
        let said = std::process::Command::new("git").args(["rev-parse", "HEAD"]).current_dir(&folder).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), commit, "would clone it again");
    }
    for name in ["CUDA_COMPUTE_CAP", "NVCC_PREPEND_FLAGS", "CUDAFORGE_THREADS"] {
        println!("cargo:rustc-env={}={}", name, std::env::var(name).expect(name));
    }
}
"""
MAIN = """
fn main() {
    println!("mistralrs 0.9.{} sm_{}", 4 + mistralrs_quant::one(), mistralrs_quant::CAP);
}
"""


class Upstream(NamedTuple):
    """Where the repositories are, and the commits of CUTLASS that are wanted."""

    mistralrs: Path
    cutlass: Path
    commits: tuple[str, str]

    def env(self, pin: Path) -> dict[str, str]:
        """Return the environment in which ``make-sources`` takes these for the real ones, and cargo for a new one."""
        own = {
            "PATH": f"{self.mistralrs.parent / 'bin'}:{os.environ['PATH']}",
            "MISTRALRS_UPSTREAM": f"file://{self.mistralrs}",
            "CUTLASS_UPSTREAM": f"file://{self.cutlass}",
            "MISTRALRS_PIN": str(pin),
        }
        return os.environ | own


def need(*programs: str) -> None:
    """Skip a test where a program is not installed; fail where CI says that it must be there."""
    lacking = [name for name in programs if shutil.which(name) is None]
    if not lacking:
        return
    words = f"no {', '.join(lacking)} here"
    if os.environ.get("CI") == "true" and not set(lacking) <= NEVER_IN_CI:
        pytest.fail(words)
    pytest.skip(words)


def _cargo() -> tuple[int, ...]:
    """Return the version of cargo; that of rustup says nothing before it has a toolchain."""
    said = subprocess.run(["cargo", "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(map(int, re.findall(r"\d+", said)[:2]))


def run(*command: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a program to its end and return what it printed."""
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout.strip()


def make_upstream(folder: Path) -> Upstream:
    """Make the repositories below a folder."""
    older = _repository(
        folder / "cutlass",
        {
            "include/cutlass/cutlass.h": "#define CUTLASS 1\n",
            "tools/util/include/cutlass/util.h": "\n",
            "examples/huge.cu": "never built\n",
            "LICENSE.txt": "BSD-3-Clause\n",
        },
    )
    newer = _repository(folder / "cutlass", {"include/cutlass/version.h": "#define CUTLASS_MAJOR 4\n"})
    candle = _repository(
        folder / "candle",
        {
            "Cargo.toml": '[workspace]\nmembers = ["candle-core"]\nresolver = "2"\n',
            "candle-core/Cargo.toml": _crate("candle-core", "0.11.0", "MIT/Apache-2.0"),
            "candle-core/src/lib.rs": "pub fn one() -> u32 { 1 }\n",
        },
    )
    dependency = f'candle-core = {{ git = "file://{folder / "candle"}", rev = "{candle}" }}'
    files = {
        "Cargo.toml": '[workspace]\nmembers = ["mistralrs-cli", "mistralrs-quant"]\nresolver = "2"\n',
        ".cargo/config.toml": '[env]\nUPSTREAMS_OWN = "1"\n',
        "mistralrs-quant/Cargo.toml": _crate("mistralrs-quant", "0.9.5", "MIT", dependency, "cuda = []"),
        "mistralrs-quant/build.rs": BUILD_SCRIPT.replace("@CUTLASS@", newer).replace("@OTHER@", older),
        "mistralrs-quant/src/lib.rs": 'pub use candle_core::one;\npub const CAP: &str = env!("CUDA_COMPUTE_CAP");\n',
        "mistralrs-cli/Cargo.toml": _crate(
            "mistralrs-cli",
            "0.9.5",
            "MIT",
            'mistralrs-quant = { path = "../mistralrs-quant" }',
            'cuda = ["mistralrs-quant/cuda"]\nflash-attn = []',
        )
        + '\n[[bin]]\nname = "mistralrs"\npath = "src/main.rs"\n',
        "mistralrs-cli/src/main.rs": MAIN,
        "LICENSE": "MIT\n",
        "README.md": "# mistral.rs\n",
        "chat_templates/a.json": "{}\n",
    }
    place = folder / "mistralrs"
    _write(place, files)
    _write(folder, {"bin/cargo": TAKEN_FOR_NEW.format(cargo=shutil.which("cargo"))} if _cargo() < OLDEST_CARGO else {})
    for program in folder.glob("bin/*"):
        program.chmod(0o755)
    env = os.environ | {"CARGO_HOME": str(folder / "home")}
    run("cargo", "generate-lockfile", "--quiet", env=env, cwd=place)
    _repository(place, {}, tag="v0.9.5")
    return Upstream(place, folder / "cutlass", (older, newer))


def _crate(name: str, version: str, licence: str, dependencies: str = "", features: str = "") -> str:
    head = f'[package]\nname = "{name}"\nversion = "{version}"\nedition = "2021"\nlicense = "{licence}"\n'
    return f"{head}\n[dependencies]\n{dependencies}\n\n[features]\n{features}\n"


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def _repository(folder: Path, files: dict[str, str], tag: str = "") -> str:
    """Commit a folder with some files; return the commit."""
    _write(folder, files)
    when = "2026-10-19T00:00:00Z"
    env = os.environ | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    git = ("git", "-c", "user.name=up", "-c", "user.email=up@example.org", "-C", str(folder))
    run(*git, "init", "--quiet", env=env)
    run(*git, "add", "--force", ".", env=env)
    run(*git, "commit", "--quiet", "--message", "all", env=env)
    if tag:
        run(*git, "tag", tag, env=env)
    return run(*git, "rev-parse", "HEAD", env=env)
