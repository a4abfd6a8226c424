"""Why an engine ended, found in what llama-server (build 11549) and others really wrote."""

import signal

import pytest

from cortex.neuron.process.last_words import LastWords, how_it_ended, last_words

START = """\
0.00.000.312 I srv          init: initializing ...
0.00.002.747 W srv          init: security: no API key is set and CORS allows all origins (see https://github.com/x)
0.00.004.219 I srv          init: loading model
0.00.004.415 I srv    load_model: loading model '/models/a.gguf'
"""
END_OF_LOAD = """\
0.00.005.420 E llama_model_load: error loading model: llama_model_loader: failed to load model from /models/a.gguf
0.00.005.449 E llama_model_load_from_file_impl: failed to load model
0.00.005.537 E common_fit_params: encountered an error while trying to fit params to free device memory: failed to load
0.00.005.664 E cmn  common_init_: failed to load model '/models/a.gguf'
0.00.005.691 E srv    load_model: failed to load model, '/models/a.gguf'
0.00.005.707 I srv    operator(): operator(): cleaning up before exit...
0.00.013.554 E srv          init: exiting due to model loading error
error: Failed to init server, please check the input params.
"""
NO_FILE = "failed to open GGUF file '/models/a.gguf' (No such file or directory)"
CUT = "tensor 'blk.0.ffn_up.weight' data is not within the file bounds, model is corrupted or incomplete"


def words(text: str) -> LastWords:
    return last_words(text.splitlines())


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (f"0.00.005.075 E gguf_init_from_file: {NO_FILE}\n", NO_FILE),
        (
            "0.00.011.156 E gguf_init_from_reader: invalid magic characters: '<!DO', expected 'GGUF'\n",
            "invalid magic characters: '<!DO', expected 'GGUF'",
        ),
        ("0.00.013.276 E gguf_init_from_reader: failed to read key-value pairs\n", "failed to read key-value pairs"),
        (f"0.00.012.643 E llama_model_load: error loading model: {CUT}\n", f"error loading model: {CUT}"),
        (
            "0.00.012 E llama_model_load: error loading model: unknown model architecture: 'qwen9'\n",
            "error loading model: unknown model architecture: 'qwen9'",
        ),
        ("", "error loading model: llama_model_loader: failed to load model from /models/a.gguf"),
    ],
    ids=["missing", "not GGUF", "cut in the header", "cut in the weights", "too new", "no cause named"],
)
def test_of_a_failed_load_the_line_that_names_the_cause_is_found(lines: str, cause: str) -> None:
    assert words(START + lines + END_OF_LOAD) == LastWords(cause=cause, is_known=True)


@pytest.mark.parametrize(
    "line",
    [
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9000 MiB on device 0: cudaMalloc failed: out of memory",
        "ggml_aligned_malloc: insufficient memory (attempted to allocate 1024.00 MB)",
        "llama_init_from_model: failed to initialize the context: failed to allocate compute buffers",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
    ],
)
def test_want_of_memory_is_told_apart(line: str) -> None:
    found = words(f"{START}{line}\n{END_OF_LOAD}")
    assert (found.cause, found.is_out_of_memory, found.is_port_taken) == (line, True, False)


def test_a_taken_port_is_told_apart() -> None:
    line = "couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 18777"
    found = words(
        f"{START}0.00.012.034 E srv         start: {line}\n"
        "0.00.012.036 I srv    operator(): operator(): cleaning up before exit...\n"
        "0.00.012.232 E srv          init: exiting due to HTTP server error\n"
        "error: Failed to init server, please check the input params.\n"
    )
    assert found == LastWords(cause=f"start: {line}", is_port_taken=True, is_known=True)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("usage: …\nerror: invalid argument: --bogus\n", "error: invalid argument: --bogus"),
        (
            "error: /opt/llama-server: No such file or directory\n",
            "error: /opt/llama-server: No such file or directory",
        ),
        ("[2026-11-01 10:00:00] CUDA error: an illegal memory access\n", "CUDA error: an illegal memory access"),
        ("ERROR: something\nwhile cleaning up\n", "something"),
        ("first\nlast\n\n  \n", "last"),
        ("", ""),
    ],
    ids=["flag", "tether", "time stamp", "an error, then more", "no error at all", "silence"],
)
def test_whatever_an_engine_writes_something_is_found(text: str, cause: str) -> None:
    assert words(text).cause == cause


VLLM = """\
INFO 06-30 13:53:11 [api_server.py:1287] vLLM API server version 0.9.1
(EngineCore_DP0 pid=17374) INFO 06-30 13:53:12 [core.py:70] Initializing a V1 LLM engine with unsupported_field=None
(EngineCore_DP0 pid=17374) WARNING 06-30 13:53:13 [utils.py:2597] We must use the `spawn` method, CUDA failed to open
(EngineCore_DP0 pid=17374) ERROR 06-30 13:53:19 [core.py:515] EngineCore failed to start.
(EngineCore_DP0 pid=17374) ERROR 06-30 13:53:19 [core.py:515] Traceback (most recent call last):
(EngineCore_DP0 pid=17374) ERROR 06-30 13:53:19 [core.py:515]   File "/venv/vllm/v1/engine/core.py", line 506, in run
(EngineCore_DP0 pid=17374) ERROR 06-30 13:53:19 [core.py:515] {cause}
(EngineCore_DP0 pid=17374) Process EngineCore_DP0:
Traceback (most recent call last):
  File "/venv/vllm/entrypoints/openai/api_server.py", line 1341, in run_server
    raise RuntimeError("Engine core initialization failed. "
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {{}}
"""
SGLANG = """\
[2025-03-29 18:18:30] server_args=ServerArgs(model_path='/m')
[2025-03-29 18:18:34 TP0] Scheduler hit an exception: Traceback (most recent call last):
  File "/sgl-workspace/sglang/python/sglang/srt/managers/scheduler.py", line 1999, in run_scheduler_process
    scheduler = Scheduler(server_args, port_args, gpu_id, tp_rank, dp_rank)
{cause}

[2025-03-29 18:18:34] Received sigquit from a child process. It usually means the child failed.
"""


@pytest.mark.parametrize("log", [VLLM, SGLANG], ids=["vLLM", "SGLang"])
@pytest.mark.parametrize(
    ("cause", "is_memory"),
    [
        (
            "ValueError: Free memory on device (31.44/47.38 GiB) on startup is less than desired GPU memory "
            "utilization (0.95, 45.01 GiB). Decrease GPU memory utilization or reduce GPU memory used by others.",
            True,
        ),
        ("RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.", True),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity", True),
        ("ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`.", True),
        ("OSError: /m does not appear to have a file named config.json.", False),
        ("pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig", False),
    ],
    ids=["room", "its fraction", "CUDA", "cache", "no model", "a bad value"],
)
def test_of_a_python_server_the_first_exception_is_the_cause(log: str, cause: str, is_memory: bool) -> None:
    found = words(log.format(cause=cause))
    assert (found.cause, found.is_out_of_memory, found.is_known) == (cause, is_memory, True)


@pytest.mark.parametrize(
    ("last", "cause"),
    [
        (
            "0.09.000.000 E srv  decode: failed to decode the batch, ret = -3\n",
            "decode: failed to decode the batch, ret = -3",
        ),
        ("0.09.000.000 I srv  stop: cancel task\n", "common: the type is unsupported, using f16"),
    ],
    ids=["is passed over", "counts where nothing else does"],
)
def test_a_mere_warning_is_no_cause_where_there_is_another(last: str, cause: str) -> None:
    assert words("0.00.010.000 W cmn  common: the type is unsupported, using f16\n" + last).cause == cause


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (None, "ended"),
        (0, "ended with code 0"),
        (127, "ended with code 127"),
        (-signal.SIGSEGV, "was killed by SIGSEGV"),
        (-signal.SIGKILL, "was killed by SIGKILL (perhaps by the kernel, for want of memory)"),
        (-63, "was killed by signal 63"),
    ],
)
def test_an_exit_code_is_told_in_words(code: int | None, text: str) -> None:
    assert how_it_ended(code) == text
