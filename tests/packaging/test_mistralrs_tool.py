"""What rpm, shellcheck and nvcc say of the packages of mistral.rs, where they are installed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.packaging.upstream import MISTRALRS, PACKAGING, need, run

SPEC = MISTRALRS / "mistralrs-cuda.spec"
SCRIPTS = sorted(
    path
    for folder in (MISTRALRS, PACKAGING / "ci", PACKAGING.parent / ".ci")
    for path in folder.iterdir()
    if path.is_file() and path.read_bytes().startswith((b"#!/bin/sh", b"#!/usr/bin/env bash"))
)

AS_GLIBC_2_42 = """
extern "C" {
extern double rsqrt(double x) noexcept(true);
extern float rsqrtf(float x) noexcept(true);
@MORE@
}
__global__ void kernel(double *p) { *p = rsqrt(*p) + cospi(*p); }
int main() { kernel<<<1, 1>>>(nullptr); }
"""
C23_IN_12_9 = "extern double cospi(double x) noexcept(true);\nextern float sinpif(float x) noexcept(true);"


@pytest.mark.parametrize(
    ("flavour", "name", "compiler"),
    [("12", "mistralrs-cuda12-server", "gcc14-c++"), ("13", "mistralrs-cuda13-server", "gcc-c++")],
)
def test_rpm_understands_the_spec(flavour: str, name: str, compiler: str) -> None:
    need("rpmspec")
    text = run("rpmspec", "-P", "--define", f"flavour {flavour}", "--define", f"_sourcedir {MISTRALRS}", SPEC)
    assert f"Name:           {name}\n" in text
    assert f"BuildRequires:  {compiler}\n" in text
    assert "%{cuda" not in text


@pytest.mark.parametrize(("flavour", "cap", "toolkit"), [("12", "89", "12.9"), ("13", "120", "13.2")])
def test_a_flavour_is_compiled_for_its_gpus_by_its_own_toolkit(flavour: str, cap: str, toolkit: str) -> None:
    need("rpmspec")
    text = run("rpmspec", "-P", "--define", f"flavour {flavour}", "--define", f"_sourcedir {MISTRALRS}", SPEC)
    build = text.partition("\n%prep\n")[2].partition("\n%install\n")[0]
    assert f"export CUDA_COMPUTE_CAP={cap}\n" in build
    assert f"export CUDA_HOME=/usr/local/cuda-{toolkit} " in build
    assert ("export NVCC_CCBIN=/usr/bin/g++-14\n" in build) == (flavour == "12"), "CUDA 12 refuses Fedora's GCC"
    (features,) = re.findall(r"--features (\S+)", build)
    assert features.split(",") == ["cuda", "flash-attn"]
    assert "--no-default-features" in build


def test_rpm_refuses_another_flavour() -> None:
    need("rpmspec")
    argv = ["rpmspec", "-P", "--define", "flavour 11", SPEC]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "flavour is 12 or 13, not 11" in done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    need("shellcheck")
    run("shellcheck", script)


def includes() -> Path:
    """Return the headers of the CUDA toolkit that is installed; skip where there is none."""
    need("nvcc")
    top = next((line for line in dry_run().splitlines() if "TOP=" in line), "")
    return Path(top.partition("TOP=")[2]).resolve() / "targets/x86_64-linux/include"


def dry_run() -> str:
    return subprocess.run(["nvcc", "--dryrun", "x.cu"], capture_output=True, text=True, check=False).stderr


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("compute_cap", "is_as_12_9"), [("89", True), ("120", False)], ids=["as 12.9 is", "as it is"])
def test_mended_headers_agree_with_a_new_glibc(compute_cap: str, is_as_12_9: bool, tmp_path: Path) -> None:
    """Headers of 12.9 lack what those of 13.0 have for some functions: this makes the ones into the others."""
    shutil.copytree(includes(), tmp_path / "before")
    header = tmp_path / "before/crt/math_functions.h"
    if " rsqrt(double x);" not in header.read_text():
        pytest.skip("the toolkit here is new enough to need no mending")
    if is_as_12_9:
        header.write_text(header.read_text().replace(" __NV_IEC_60559_FUNCS_EXCEPTION_SPECIFIER;", ";"))
    run("sh", MISTRALRS / "patch-headers", tmp_path / "before", tmp_path / "after")
    source = tmp_path / "clash.cu"
    source.write_text(AS_GLIBC_2_42.replace("@MORE@", C23_IN_12_9 if is_as_12_9 else ""))

    def compiled(folder: str) -> subprocess.CompletedProcess[str]:
        argv = ["nvcc", f"-arch=sm_{compute_cap}", "-c", source, "-o", tmp_path / "clash.o"]
        env = os.environ | {"NVCC_PREPEND_FLAGS": f"-I{tmp_path / folder}"}
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)

    assert "exception specification is incompatible" in compiled("before").stderr
    done = compiled("after")
    assert done.returncode == 0, done.stderr
