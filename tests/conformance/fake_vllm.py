"""Stands in for the program ``vllm``: the flags of ``vllm serve`` that a preset uses, its key, paths and metrics.

As documented for vLLM 0.8 to 0.21: the model is the positional argument; without ``--api-key`` the key is
``VLLM_API_KEY``, which guards ``/v1`` only; ``/health`` is good once the model is loaded, since nothing listens before;
an unknown name is a 404.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fake_server import Server, serve

parser = argparse.ArgumentParser(prog="vllm serve")
parser.add_argument("command", choices=["serve"])
parser.add_argument("model_tag")
parser.add_argument("--served-model-name", nargs="+", required=True)
parser.add_argument("--host")
parser.add_argument("--port", type=int, default=8000)
parser.add_argument("--tensor-parallel-size", "-tp", type=int, default=1)
parser.add_argument("--max-num-seqs", type=int)
parser.add_argument("--gpu-memory-utilization", type=float, default=0.9)
parser.add_argument("--max-model-len", type=int)
parser.add_argument("--quantization", "-q")
parser.add_argument("--dtype", choices=["auto", "half", "bfloat16"], default="auto")
parser.add_argument("--uvicorn-log-level", choices=["critical", "error", "warning", "info", "debug"], default="info")
args = parser.parse_args()
print(f"non-default args: {vars(args)}", flush=True)

if not 0 < args.gpu_memory_utilization <= 1:
    sys.exit(f"ValueError: GPU memory utilization must be within (0, 1], got {args.gpu_memory_utilization}")
if not Path(args.model_tag, "config.json").is_file():
    sys.exit(f"OSError: {args.model_tag} does not appear to have a file named config.json.")
seen = [device for device in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if device]
if len(seen) != args.tensor_parallel_size:
    sys.exit(f"ValueError: {args.tensor_parallel_size} devices are wanted, and {len(seen)} are there")
counts = dict.fromkeys(("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:generation_tokens_total"), 0)
key = os.environ.get("VLLM_API_KEY")
try:
    server = Server(args.host, args.port, args.served_model_name[0], key=key, guarded="/v1", counts=counts)
except OSError as error:
    sys.exit(f"OSError: [Errno 98] error while attempting to bind on address ('{args.host}', {args.port}): {error}")
serve(server)
