"""What the packages of mistral.rs say agrees with itself and with the neuron. No tool is needed to see it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.arch.source import ROOT

from cortex.neuron.mistralrs.installed import CAPABILITY_OF_PACKAGE

FOLDER = ROOT / "packaging" / "mistralrs"
SPEC = (FOLDER / "mistralrs-cuda.spec").read_text()
UNIT = (FOLDER / "mistralrs.service").read_text()
README = (FOLDER / "README.md").read_text()


def block(flavour: str) -> dict[str, str]:
    """Return the macros that a flavour defines."""
    text = SPEC.partition(f'%if "%{{flavour}}" == "{flavour}"\n')[2].partition("%else")[0]
    return dict(re.findall(r"^%global (\w+) (\S+)$", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("flavour", "major", "compute_cap"), [("12", "12", "89"), ("13", "13", "120")], ids=["cuda12", "cuda13"]
)
def test_a_flavour_is_for_the_gpus_that_the_neuron_takes_it_for(flavour: str, major: str, compute_cap: str) -> None:
    macros = block(flavour)
    assert macros["compute_cap"] == compute_cap
    assert macros["capability"].replace(".", "") == compute_cap
    assert macros["cuda"].split(".")[0] == major
    assert macros["cuda_dashed"] == macros["cuda"].replace(".", "-")
    assert CAPABILITY_OF_PACKAGE[f"mistralrs-cuda{flavour}-server"].removesuffix("a") == macros["capability"]
    row = next(line for line in README.splitlines() if line.startswith(f"| `mistralrs-cuda{flavour}-server`"))
    assert f"| {macros['cuda']} | sm_{compute_cap}" in row
    assert f"| {macros['needs_driver']} or newer |" in row


def test_toolkits_are_pinned() -> None:
    """A newer one is taken by whoever has seen that a mistral.rs accepts it."""
    wanted = re.findall(r"^BuildRequires:\s+((?:cuda|libcu)\S*)$", SPEC, re.MULTILINE)
    assert len(wanted) >= 6
    assert all(name.endswith("-%{cuda_dashed}") for name in wanted)


def test_the_program_is_where_it_was_asked_for() -> None:
    assert "%ghost /usr/local/bin/mistralrs" in SPEC
    assert "ExecStart=/usr/local/bin/mistralrs " in UNIT


def test_the_page_names_programs_where_the_spec_puts_them() -> None:
    named = set(re.findall(r"/usr/libexec/mistralrs/\w+/\w+", README))
    assert named
    assert named <= {f"/usr/libexec/mistralrs/cuda{flavour}/mistralrs" for flavour in (12, 13)}
    assert "%global flavour_dir %{_libexecdir}/mistralrs/cuda%{flavour}\n" in SPEC


def test_every_file_that_the_spec_takes_is_there() -> None:
    sources = re.findall(r"^Source\d+:\s+(\S+)$", SPEC, re.MULTILINE)
    assert [name for name in sources[1:] if not (FOLDER / name).is_file()] == []
    assert sources[0] == "mistralrs-%{version}-vendored.tar.xz"
    made = (FOLDER / "make-srpm").read_text()
    assert [name for name in sources[1:] if name not in made] == []


def test_the_changelog_begins_with_the_version_that_is_pinned() -> None:
    (version,) = re.findall(r"^Version:\s+(\S+)$", SPEC, re.MULTILINE)
    assert re.search(rf"^%changelog\n\* \w+ \w+ \d+ \d+ .* - {re.escape(version)}-\d+$", SPEC, re.MULTILINE)


def test_the_example_serves_where_the_neuron_looks() -> None:
    example = tomllib.loads((FOLDER / "server.toml.example").read_text())
    assert example["command"] == "serve"
    assert f'endpoint = "http://localhost:{example["server"]["port"]}"' in README
    assert example["models"]


def test_the_unit_is_confined_as_the_template_is() -> None:
    """Both run the same program for the same user: what one may, the other may."""
    template = settings((ROOT / "packaging/systemd/mistralrs@.service").read_text())
    ours = settings(UNIT)
    own = {"ExecStart", "EnvironmentFile", "Environment", "TimeoutStopSec", "KillMode", "DeviceAllow"}
    assert {key: ours.get(key) for key in template if key not in own} == {
        key: value for key, value in template.items() if key not in own
    }
    assert set(ours["DeviceAllow"]) <= set(template["DeviceAllow"])


def test_the_template_serves_the_file_of_its_instance_as_the_unit_does_its_own() -> None:
    """``mistralrs@server`` would be ``mistralrs``."""
    template = (ROOT / "packaging/systemd/mistralrs@.service").read_text().replace("%i", "server")
    keys = ("ExecStart", "EnvironmentFile", "AssertPathExists", "WantedBy", "After")
    ours, theirs = (
        {key: re.findall(rf"^{key}=(.*)$", text, re.MULTILINE) for key in keys} for text in (UNIT, template)
    )
    assert ours == theirs
    assert ours["AssertPathExists"] == ["/etc/mistralrs/server.toml"]


def settings(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in re.findall(
        r"^(\w+)=(.*)$", text.partition("[Service]")[2].partition("[Install]")[0], re.MULTILINE
    ):
        found.setdefault(key, []).append(value)
    return found


def test_the_user_is_the_one_that_the_neurons_package_makes() -> None:
    ours = (FOLDER / "mistralrs.sysusers").read_text().splitlines()[-1]
    assert ours in (ROOT / "packaging/rpm/sysusers/cortex-neuron.conf").read_text()


HEADER = """\
extern __DEVICE_FUNCTIONS_DECL__ __device_builtin__ double                 rsqrt(double x);
extern __DEVICE_FUNCTIONS_DECL__ __device_builtin__ float                  sinpif(float x) __NV_SPECIFIER;
extern __DEVICE_FUNCTIONS_DECL__ __device_builtin__ void                   sincospi(double x, double *s, double *c);
__MATH_FUNCTIONS_DECL__ float rsqrt(const float a);
__func__(double rsqrt(double a));
__func__(float sinpif(float a));
"""


def test_headers_are_mended_where_they_say_nothing_of_exceptions_and_nowhere_else(tmp_path: Path) -> None:
    header = tmp_path / "from/crt/math_functions.h"
    header.parent.mkdir(parents=True)
    header.write_text(HEADER)
    header.chmod(0o444)
    for _ in range(2):
        subprocess.run(["sh", FOLDER / "patch-headers", tmp_path / "from", tmp_path / "to"], check=True)
    assert header.read_text() == HEADER, "the toolkit's own is left alone"
    assert (tmp_path / "to/crt/math_functions.h").read_text() == HEADER.replace(
        "rsqrt(double x);", "rsqrt(double x) noexcept(true);"
    ).replace("rsqrt(double a));", "rsqrt(double a) noexcept(true));")


def test_a_toolkit_without_headers_is_said_so(tmp_path: Path) -> None:
    argv = ["sh", FOLDER / "patch-headers", tmp_path, tmp_path / "to"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is the CUDA toolkit installed there?" in done.stderr


def test_cutlass_is_found_wherever_a_build_script_names_it_and_its_absence_is_a_fault(tmp_path: Path) -> None:
    one, two, three, four = ("1" * 40, "2" * 40, "3" * 40, "4" * 40)
    for name, text in (
        (
            "mistralrs-quant/build.rs",
            f'const CUTLASS_COMMIT: &str = "{one}";\nconst GEMM_CUTLASS_COMMIT: &str = "{two}";',
        ),
        ("mistralrs-flash-attn/build.rs", f'mod cuda {{\n    const CUTLASS_COMMIT: &str = "{one}";\n}}'),
        ("vendor/cudaforge-0.1.5/src/dependency.rs", f'const CUTLASS_DEFAULT_COMMIT: &str = "{three}";'),
        ("vendor/other/src/dependency.rs", f'const CUTLASS_COMMIT: &str = "{four}";'),
    ):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    assert listed(tmp_path) == (0, [one, two, three], "")
    for path in tmp_path.rglob("*.rs"):
        path.write_text('const CUTLASS_COMMIT_ENV: &str = "MISTRALRS_CUTLASS_COMMIT";')
    code, _, said = listed(tmp_path)
    assert code == 1
    assert "has its place changed?" in said


def test_a_build_script_that_clones_something_else_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "build.rs").write_text(
        f'const CUTLASS_COMMIT: &str = "{"1" * 40}";\nbuilder.with_git_dependency("x", URL, COMMIT, vec![], false)'
    )
    code, _, said = listed(tmp_path)
    assert code == 1
    assert "clones something that is not CUTLASS" in said


def listed(tree: Path) -> tuple[int, list[str], str]:
    done = subprocess.run([FOLDER / "list-cutlass", tree], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.split(), done.stderr


def test_crates_are_listed_with_their_licences_and_one_without_is_told(tmp_path: Path) -> None:
    for name, licence in (
        ("b-2.0.0", 'license = "MIT/Apache-2.0"'),
        ("a-1.0.0", 'license = "BSD-3-Clause"'),
        ("c-3.0.0", 'license-file = "COPYING"'),
        ("d-4.0.0", ""),
    ):
        (tmp_path / name).mkdir()
        crate, version = name.split("-")
        text = f'[package]\nname = "{crate}"\nversion = "{version}"\n{licence}\n'
        (tmp_path / name / "Cargo.toml").write_text(text)
    argv = [sys.executable, FOLDER / "list_crates.py", tmp_path]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "a 1.0.0 BSD-3-Clause",
        "b 2.0.0 MIT OR Apache-2.0",
        "c 3.0.0 see c-3.0.0/COPYING",
        "d 4.0.0 unknown, see d-4.0.0",
    ]
    assert "d-4.0.0/Cargo.toml names no licence" in done.stderr
    empty = subprocess.run([*argv[:2], tmp_path / "a-1.0.0"], capture_output=True, text=True, check=False)
    assert empty.returncode == 1
    assert "there are no crates" in empty.stderr


@pytest.mark.parametrize(
    ("licence", "is_covered"),
    [
        ("MIT", True),
        ("MIT/Apache-2.0", True),
        ("Unlicense OR MIT", True),
        ("MPL-2.0", False),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", False),
        ("(MIT OR Zlib) AND BSD-3-Clause", True),
        ("Apache-2.0 WITH LLVM-exception", False),
    ],
)
def test_a_licence_that_the_specs_tag_lacks_is_told(licence: str, is_covered: bool, tmp_path: Path) -> None:
    (tmp_path / "a-1.0.0").mkdir()
    text = f'[package]\nname = "a"\nversion = "1.0.0"\nlicense = "{licence}"\n'
    (tmp_path / "a-1.0.0/Cargo.toml").write_text(text)
    argv = [sys.executable, FOLDER / "list_crates.py", tmp_path, FOLDER / "mistralrs-cuda.spec"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert ("the spec's License: lacks it" not in done.stderr) is is_covered


def test_the_licence_of_the_spec_is_written_as_spdx_has_it() -> None:
    (tag,) = re.findall(r"^License:\s+(.*)$", SPEC, re.MULTILINE)
    names = {word.strip("()") for word in re.split(r" (?:AND|OR) ", tag)}
    assert names == {"MIT", "Apache-2.0", "BSD-3-Clause"}
