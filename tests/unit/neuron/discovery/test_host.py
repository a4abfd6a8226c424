"""Who the host is: what a file does not tell is ``unknown``, and no odd file keeps a neuron from starting."""

from pathlib import Path

import pytest
from tests.unit.neuron.file_tree import plant

from cortex.neuron.discovery.host import Host, HostReader


def read_host(root: Path) -> Host:
    return HostReader(root, nvcc=str(root / "no such nvcc")).read()


FEDORA = 'NAME="Fedora Linux"\nVERSION="43 (Server Edition)"\nPRETTY_NAME="Fedora Linux 43 (Server Edition)"\n'


def test_a_host_tells_its_name_system_kernel_and_toolkit(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "proc/sys/kernel/hostname": "beast\n",
            "proc/sys/kernel/osrelease": "6.17.1-300.fc43.x86_64\n",
            "etc/os-release": FEDORA,
            "usr/local/cuda/version.json": '{"cuda": {"name": "CUDA SDK", "version": "13.0.1"}}',
        },
    )
    assert read_host(tmp_path) == Host(
        hostname="beast",
        os="Fedora Linux 43 (Server Edition)",
        kernel="6.17.1-300.fc43.x86_64",
        cuda_toolkit_version="13.0.1",
    )


def test_what_no_file_tells_is_unknown(tmp_path: Path) -> None:
    assert read_host(tmp_path) == Host(hostname="unknown", os="unknown", kernel="unknown")


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"usr/lib/os-release": "PRETTY_NAME='Debian GNU/Linux 12'\n"}, "Debian GNU/Linux 12"),
        ({"etc/os-release": "PRETTY_NAME=Alpine\n", "usr/lib/os-release": FEDORA}, "Alpine"),
        ({"etc/os-release": "ID=x\n", "usr/lib/os-release": "PRETTY_NAME=y\n"}, "y"),
        ({"etc/os-release": 'PRETTY_NAME="never closed\n'}, "never closed"),
        ({"etc/os-release": 'PRETTY_NAME=""\n'}, "unknown"),
        ({"etc/os-release": b"PRETTY_NAME=\xff\n"}, "\ufffd"),
    ],
    ids=["the second place", "the first place wins", "a first place without it", "bad quotes", "empty", "not UTF-8"],
)
def test_the_system_is_named_as_os_release_does(tmp_path: Path, files: dict[str, str | bytes], name: str) -> None:
    assert read_host(plant(tmp_path, files)).os == name


def test_of_several_toolkits_the_newest_counts(tmp_path: Path) -> None:
    versions = {"cuda-12.9": "12.9.1", "cuda-12.10": "12.10.0", "cuda-9": "9.2"}
    plant(tmp_path, {f"usr/local/{d}/version.json": f'{{"cuda": {{"version": "{v}"}}}}' for d, v in versions.items()})
    assert read_host(tmp_path).cuda_toolkit_version == "12.10.0"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"cuda": null}', '{"cuda": {}}', '{"cuda": {"version": null}}', '{"cuda": {"version": "13.x"}}'],
)
def test_a_toolkit_that_does_not_tell_its_version_is_none(tmp_path: Path, text: str) -> None:
    assert read_host(plant(tmp_path, {"usr/local/cuda/version.json": text})).cuda_toolkit_version is None


def test_the_real_host_has_a_kernel() -> None:
    assert read_host(Path("/")).kernel != "unknown"


NVCC = "nvcc: NVIDIA (R) Cuda compiler driver\nBuilt on Wed_Aug_20\nCuda compilation tools, release {}, V{}\n"


def install_nvcc(file: Path, text: str, code: int = 0) -> None:
    """Put a program in a compiler's place that says this and counts how often it is asked."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_name("said").write_text(text)
    file.write_text(
        f'#!/bin/sh\necho "$*" >> "$0.calls"\nwhile read -r l; do echo "$l"; done < "${{0%/*}}/said"\nexit {code}\n'
    )
    file.chmod(0o755)


def test_a_toolkit_without_a_file_is_known_by_its_compiler(tmp_path: Path) -> None:
    nvcc = tmp_path / "bin" / "nvcc"
    install_nvcc(nvcc, NVCC.format("13.0", "13.0.88"))
    assert HostReader(tmp_path, str(nvcc)).read().cuda_toolkit_version == "13.0"


def test_a_compiler_that_is_not_on_the_path_is_found_where_toolkits_are(tmp_path: Path) -> None:
    install_nvcc(tmp_path / "usr/local/cuda-12.9/bin/nvcc", NVCC.format("12.9", "12.9.86"))
    assert read_host(tmp_path).cuda_toolkit_version == "12.9"


def test_of_file_and_compiler_the_newer_counts_and_of_equals_the_one_that_says_more(tmp_path: Path) -> None:
    plant(tmp_path, {"usr/local/cuda/version.json": '{"cuda": {"version": "12.9.1"}}'})
    nvcc = tmp_path / "bin" / "nvcc"
    install_nvcc(nvcc, NVCC.format("12.9", "12.9.86"))
    assert HostReader(tmp_path, str(nvcc)).read().cuda_toolkit_version == "12.9.1"
    install_nvcc(nvcc, NVCC.format("13.1", "13.1.2"))
    assert HostReader(tmp_path, str(nvcc)).read().cuda_toolkit_version == "13.1"


@pytest.mark.parametrize(("text", "code"), [("no version today\n", 0), (NVCC.format("13.0", "13.0.88"), 1)])
def test_a_compiler_that_does_not_say_or_fails_is_none(tmp_path: Path, text: str, code: int) -> None:
    install_nvcc(tmp_path / "nvcc", text, code)
    assert HostReader(tmp_path, str(tmp_path / "nvcc")).read().cuda_toolkit_version is None


def test_a_compiler_is_asked_once_until_it_is_another_file(tmp_path: Path) -> None:
    nvcc = tmp_path / "nvcc"
    install_nvcc(nvcc, NVCC.format("12.9", "12.9.86"))
    reader = HostReader(tmp_path, str(nvcc))
    for _ in range(3):
        reader.read()
    assert Path(f"{nvcc}.calls").read_text() == "--version\n"
