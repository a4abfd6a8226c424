"""What of the pages is not run by itself, why, and which test shows it instead.

An entry that matches nothing in the pages any more fails its test, and so does one that names a test that is not there.
"""

from typing import NamedTuple


class Instead(NamedTuple):
    """Why something is not done here, and what does it: tests by file and name, or a line of ``.ci/run``."""

    why: str
    shown_by: tuple[str, ...]


INSTALLS = "tests/packaging/rpm/test_install.py::"
SERVES = "tests/packaging/rpm/test_serving.py::"
UNITS = "tests/packaging/rpm/test_operating.py::"
CONTAINER = "tests/arch/test_container.py::"
KUBERNETES = "tests/arch/test_kubernetes.py::"
ANSIBLE = "tests/arch/test_ansible.py::"
WHEEL = "tests/integration/cli/test_wheel.py::"
CLIENT = "tests/integration/client/"

STOOD_IN = {
    "sudo": Instead(
        "there are no users of ours where tests run: the program behind it is run by who runs the tests",
        (f"{UNITS}test_users_and_groups_are_those_that_units_files_and_rules_name",),
    ),
    "chown": Instead(
        "there are no users of ours where tests run",
        ("tests/packaging/rpm/test_content.py::test_configuration_is_kept_and_only_its_daemon_may_read_it",),
    ),
    "systemctl": Instead(
        "there is no systemd that runs: units are enabled in a scratch root, and what they start is started elsewhere",
        (
            f"{UNITS}test_services_start_what_is_installed",
            f"{SERVES}test_the_gateway_finds_the_neuron_and_both_tell_their_metrics",
            "tests/integration/gateway/test_handover.py::test_a_successor_takes_over_while_streams_run_and_requests_come",
        ),
    ),
    "journalctl": Instead(
        "there is no journal",
        ("tests/unit/kit/test_log.py::test_the_journal_is_told_how_bad_a_line_is",),
    ),
    "firewall-cmd": Instead(
        "there is no firewall that runs",
        (f"{UNITS}test_firewalld_reads_the_services", f"{UNITS}test_the_ports_are_those_of_the_configuration"),
    ),
    "apt": Instead(
        "changes the system: packages are asked for that CI installs in the same way", (".ci/run::apt-get",)
    ),
    "dnf": Instead(
        "changes the system, and COPR is far away: done in a scratch root, with a local repository",
        (
            f"{INSTALLS}test_a_gateway_host_and_a_gpu_host_get_what_they_need",
            f"{INSTALLS}test_an_edited_configuration_outlives_an_upgrade_and_a_removal",
            f"{INSTALLS}test_an_older_version_comes_back",
        ),
    ),
    "pipx": Instead(
        "is not installed: the stand-in does what it does, an environment with the requirement by pip, offline",
        (f"{WHEEL}test_its_programs_run_and_are_those_of_the_wheel",),
    ),
    "uv": Instead(
        "is not installed: the stand-in does what it does, an environment with the requirement by pip, offline",
        (f"{WHEEL}test_its_programs_run_and_are_those_of_the_wheel",),
    ),
    "copr-cli": Instead(
        "needs an account and the network",
        (
            "tests/arch/test_release.py::test_each_package_is_built_and_one_that_fails_fails_the_job",
            "tests/arch/test_release.py::test_mistralrs_is_built_where_its_toolkit_is_and_may_take_its_time",
        ),
    ),
    "docker": Instead(
        "images come from the network; what a container would run is run here",
        (
            f"{CONTAINER}test_everything_that_is_copied_is_sent_to_the_builder",
            f"{CONTAINER}test_the_gateway_finds_its_neuron_its_catalogue_and_a_place_for_its_store",
            f"{CONTAINER}test_postgresql_is_there_when_it_is_asked_for",
        ),
    ),
    "kubectl": Instead(
        "there is no cluster; what a pod would run is run here",
        (
            f"{KUBERNETES}test_an_object_has_only_fields_that_the_api_knows",
            f"{KUBERNETES}test_everything_that_is_mounted_is_there",
        ),
    ),
    "ansible-playbook": Instead(
        "is not installed, and there are no hosts",
        (
            f"{ANSIBLE}test_a_gateway_of_the_example_knows_the_neuron_and_its_token",
            f"{ANSIBLE}test_a_fleet_is_upgraded_neurons_first_and_one_by_one",
        ),
    ),
    "claude": Instead(
        "is not free to be installed: the stand-in asks what it would, and the real one is run where it is",
        (f"{CLIENT}test_claude_code.py::test_a_tool_is_run_and_its_result_comes_back",),
    ),
    "codex": Instead(
        "comes by npm: the stand-in asks by its file, and the real one is run where it is",
        (f"{CLIENT}test_codex.py::test_a_tool_is_run_and_its_result_comes_back",),
    ),
    "aider": Instead(
        "its packages are large: the stand-in asks by its variables",
        (f"{CLIENT}test_openai.py::test_an_answer_and_its_stream_are_the_same",),
    ),
    "cn": Instead(
        "comes by npm: the stand-in asks by its file",
        (f"{CLIENT}test_openai.py::test_parallel_calls_and_their_results_go_round",),
    ),
    "opencode": Instead(
        "comes by npm: the stand-in asks by its file",
        (f"{CLIENT}test_openai.py::test_parallel_calls_and_their_results_go_round",),
    ),
    "open-webui": Instead(
        "its packages are large: the stand-in asks by its variables",
        (f"{CLIENT}test_openai.py::test_models_are_listed_and_told_one_by_one",),
    ),
}
"""Programs in whose place tests/docs/stand_in is run, which holds their words against the repository."""

NOT_RUN = {
    r"^make check\b": Instead("is this, among others", (".ci/run::make check",)),
    r"^make docs\b": Instead("installs what makes the site", (".ci/run::make docs",)),
    r"^make run ARGS=\"--model hf:": Instead(
        "fetches from Hugging Face",
        ("tests/unit/neuron/model_file/test_hub.py::test_a_file_is_found_with_its_parts_and_fetched",),
    ),
}
"""Commands that are only read, by what they look like."""

PYTHON_NOT_RUN = {
    "langchain_openai": Instead(
        "is not installed", (f"{CLIENT}test_openai.py::test_many_asynchronous_streams_at_once",)
    ),
    "litellm": Instead("is not installed", (f"{CLIENT}test_openai.py::test_an_answer_and_its_stream_are_the_same",)),
    "llama_index": Instead(
        "is not installed", (f"{CLIENT}test_openai.py::test_an_answer_and_its_stream_are_the_same",)
    ),
    "contextlib": Instead("is a piece of a class", ("tests/conformance/test_openai.py::TestOpenAi",)),
}
"""Python blocks that are only compiled, by what they begin to import or use."""

NOT_READ = {
    "nginx": "there is no nginx here",
    "text": "is what is answered, or part of a file",
}
"""Languages of blocks that no test of these reads."""
