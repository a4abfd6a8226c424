"""A neuron with the real engine: loads, endpoints, unloads, and what can go wrong between them."""

import itertools
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest
from tests.integration.neuron.neuron_process import chat, is_busy, is_running, neuron, wait_until
from tests.port import free_port

MISSION = """
[[harnesses]]
name = "mistralrs"
endpoint = "http://localhost:8080"
systemd_unit = "mistralrs.service"

[[harnesses]]
name = "llamacpp"
binary = "/usr/local/bin/llama-server"
port_range = [8100, 8199]
"""
ENDING = "keep_engines = false\ndrain_timeout_s = 5\n"


def test_a_model_is_loaded_used_and_unloaded_and_leaves_nothing(tmp_path: Path, demo: Path) -> None:
    with neuron(tmp_path, head=ENDING) as node:
        assert node.load("lab/demo", demo) == (200, {"status": "loading", "generation": 1, "estimated_mb": 68})
        report = node.until("lab/demo", "loaded")
        assert (report["harness"], report["devices"], report["generation"], report["parallel"]) == (
            "llamacpp",
            [0],
            1,
            4,
        )
        wait_until(lambda: (node.report("lab/demo")["vram_used_mb"] or 0) > 20)
        endpoint = node.endpoint("lab%2Fdemo")
        assert endpoint["engine_model"] == "lab/demo"
        with openai.OpenAI(base_url=endpoint["url"] + "/v1", api_key="none", max_retries=0) as sdk:
            answer = sdk.chat.completions.create(
                model="lab/demo", max_tokens=8, messages=[{"role": "user", "content": "Hello"}]
            )
        assert answer.choices[0].message.content
        (pid,) = node.engine_pids()
        assert node.unload("lab/demo") == (200, {"status": "unloaded"})
        assert not is_running(pid)
        assert node.engine_pids() == []
        assert node.report("lab/demo")["status"] == "unloaded"
        assert node.get("/health")[1]["harnesses"][0]["cycles"] == 1
        assert node.get("/models/lab/demo/endpoint")[0] == 409


def test_a_neuron_that_can_load_nothing_says_so(tmp_path: Path) -> None:
    with neuron(tmp_path, "", head='model_dirs = ["gone"]\n') as node:
        assert "WARNING cli.neuron: no [[harnesses]]: this neuron can load nothing" in node.log
        assert f"WARNING cli.neuron: model_dirs: {tmp_path}/gone is no directory" in node.log


def test_a_model_is_found_by_its_id_and_loaded_again_by_it_alone(tmp_path: Path, demo: Path) -> None:
    (tmp_path / "models" / "lab").mkdir(parents=True)
    (tmp_path / "models" / "lab" / "demo-Q8_0.gguf").symlink_to(demo)
    with neuron(tmp_path, head=ENDING + 'model_dirs = ["models"]\n') as node:
        assert node.load("lab/demo", quant="Q8_0")[0] == 200
        node.until("lab/demo", "loaded")
        status, answer = node.load("lab/demo", quant="Q4_0")
        assert (status, answer["error"]["code"]) == (400, "loaded_differently")
        node.unload("lab/demo")
        status, answer = node.load("lab/demo", quant="Q4_0")
        assert (status, answer["error"]["code"]) == (400, "source_missing")
        assert node.load("lab/demo")[1]["generation"] == 2
        node.until("lab/demo", "loaded")


def test_a_missing_file_is_refused_and_a_broken_one_fails_in_the_engines_words(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + b"\xff" * 64)
    with neuron(tmp_path, head=ENDING) as node:
        status, answer = node.load("gone", tmp_path / "gone.gguf")
        assert (status, answer["error"]["code"]) == (400, "source_missing")
        assert node.report("gone") == {}
        assert node.load("broken", tmp_path / "broken.gguf")[0] == 200
        error = node.until("broken", "failed")["error"]
        assert error["code"] == "engine_failed"
        assert error["message"].startswith("llama-server ended with code 1: ")
        assert error["log_tail"]
        assert node.get("/models/broken/logs?lines=1")[1]["lines"] == error["log_tail"][-1:]
        wait_until(lambda: node.engine_pids() == [])


def test_an_engine_that_is_killed_has_failed_and_can_be_loaded_again(tmp_path: Path, demo: Path) -> None:
    with neuron(tmp_path, head=ENDING) as node:
        before = node.loaded("demo", demo)
        (pid,) = node.engine_pids()
        os.kill(pid, signal.SIGKILL)
        error = node.until("demo", "failed")["error"]
        assert "llama-server was killed by SIGKILL" in error["message"]
        after = node.loaded("demo", demo)
        assert after["generation"] == before["generation"] + 1
        assert after["url"] != before["url"]
        assert chat(after["url"])


def test_an_unload_calls_a_load_off(tmp_path: Path, slow: Path) -> None:
    with neuron(tmp_path, head=ENDING) as node:
        node.load("slow", slow)
        wait_until(lambda: node.engine_pids() != [])
        (pid,) = node.engine_pids()
        assert node.unload("slow") == (200, {"status": "unloaded"})
        assert not is_running(pid)


def test_a_busy_model_is_unloaded_only_by_force(tmp_path: Path, slow: Path) -> None:
    with neuron(tmp_path, head="keep_engines = false\ndrain_timeout_s = 1\n") as node, ThreadPoolExecutor(1) as pool:
        url = node.loaded("slow", slow, parallel=1, context=1024)["url"]
        running = pool.submit(chat, url, max_tokens=900)
        wait_until(lambda: node.unload("slow")[0] == 409)
        assert node.report("slow")["status"] == "loaded"
        assert not running.done()
        assert node.unload("slow", force=True) == (200, {"status": "unloaded"})
        assert running.exception() is not None


def test_of_two_loads_that_race_for_memory_one_is_refused(tmp_path: Path, demo: Path) -> None:
    with neuron(tmp_path, head=ENDING) as node, ThreadPoolExecutor(2) as pool:
        free_mb = node.get("/health")[1]["devices"][0]["vram_free_mb"]
        loads = [pool.submit(node.load, name, demo, vram_mb=free_mb * 6 // 10) for name in ("one", "two")]
        answers = sorted((load.result() for load in loads), key=lambda answer: answer[0])
        assert [status for status, _ in answers] == [200, 409]
        refusal = answers[1][1]["error"]
        assert refusal["code"] == "no_room"
        assert refusal["details"]["devices"][0]["missing_mb"] > 0


def test_loads_of_one_model_at_once_start_one_engine(tmp_path: Path, demo: Path) -> None:
    with neuron(tmp_path, head=ENDING) as node, ThreadPoolExecutor(4) as pool:
        answers = [load.result() for load in [pool.submit(node.load, "demo", demo) for _ in range(8)]]
        assert {status for status, _ in answers} == {200}
        assert {answer["generation"] for _, answer in answers} == {1}
        node.until("demo", "loaded")
        assert len(node.engine_pids()) == 1


def test_engines_get_a_scrubbed_environment_and_their_entrys_own(tmp_path: Path, demo: Path) -> None:
    harnesses = '[[harnesses]]\nname = "llamacpp"\nenv = { MINE = "1" }\n'
    stray = {"LLAMA_ARG_PORT": "1", "LLAMA_ARG_CTX_SIZE": "1", "AIP_MODE": "PREDICTION", "KEPT": "yes"}
    with neuron(tmp_path, harnesses, head=ENDING, env=stray) as node:
        node.loaded("demo", demo)
        (pid,) = node.engine_pids()
        variables = dict(
            line.partition("=")[::2] for line in Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        )
        assert not [name for name in variables if name.startswith(("LLAMA_", "AIP_"))]
        assert (variables["MINE"], variables["KEPT"]) == ("1", "yes")
        assert variables["CORTEX_INSTANCE"] in node.endpoint("demo")["url"]


def test_ports_of_the_range_are_used_in_turn_and_given_back(tmp_path: Path, demo: Path) -> None:
    first = free_port()
    entry = f'[[harnesses]]\nname = "llamacpp"\nport_range = [{first}, {first + 2}]\n'
    with neuron(tmp_path, entry, head=ENDING) as node:
        ports = []
        for _ in range(5):
            node.loaded("demo", demo)
            ports.append(node.report("demo")["port"])
            assert node.unload("demo")[0] == 200
        assert set(ports) <= {first, first + 1, first + 2}
        assert all(one != two for one, two in itertools.pairwise(ports))


def test_the_missions_configuration_starts_and_says_what_is_missing(tmp_path: Path) -> None:
    with neuron(tmp_path, MISSION.replace("8080", str(free_port()))) as node:  # another test may have a server there
        found = node.get("/discovery")[1]
        assert found["harnesses"] == []
        why = {detail["name"]: detail["why_not"] for detail in found["harness_details"]}
        assert why["llamacpp"] == "binary /usr/local/bin/llama-server: no such executable file"
        assert "mistralrs" in why["mistralrs"]
        for name in ("mistralrs", "llamacpp"):
            status, answer = node.get("/models/load", {"model_id": "m", "harness": name})
            assert (status, answer["error"]["code"]) == (400, "harness_unusable")


def test_idle_it_takes_little_memory_and_none_for_what_it_does_not_use(tmp_path: Path) -> None:
    with neuron(tmp_path) as node:
        status = Path(f"/proc/{node.process.pid}/status").read_text()
        (rss_kib,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")]
        assert rss_kib < 60 * 1024
        mapped = Path(f"/proc/{node.process.pid}/maps").read_text()
        assert [name for name in ("numpy", "xllamacpp") if name in mapped] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_told_to_stop_it_ends_well_and_with_its_engines(tmp_path: Path, demo: Path, number: signal.Signals) -> None:
    with neuron(tmp_path, head=ENDING) as node:
        node.loaded("demo", demo)
        (pid,) = node.engine_pids()
        assert node.stop(number) == 0
        assert not is_running(pid)
        assert node.engine_pids() == []


def test_told_to_stop_during_a_load_it_leaves_nothing(tmp_path: Path, slow: Path) -> None:
    with neuron(tmp_path, head=ENDING) as node:
        node.load("slow", slow)
        wait_until(lambda: node.engine_pids() != [])
        (pid,) = node.engine_pids()
        assert node.stop() == 0
        assert not is_running(pid)


def test_a_stop_waits_for_requests_and_a_second_signal_cuts_them(tmp_path: Path, slow: Path) -> None:
    with neuron(tmp_path, head="keep_engines = false\n") as node, ThreadPoolExecutor(1) as pool:
        url = node.loaded("slow", slow, parallel=1, context=1024)["url"]
        (pid,) = node.engine_pids()
        running = pool.submit(chat, url, max_tokens=900)
        wait_until(lambda: is_busy(url))
        node.process.send_signal(signal.SIGTERM)
        node.until("slow", "draining")
        assert not running.done()
        assert node.stop() == 0
        assert not is_running(pid)
        assert running.exception() is not None
