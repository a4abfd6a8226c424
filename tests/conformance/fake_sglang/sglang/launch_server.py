"""Stands in for ``python3 -m sglang.launch_server``: the flags that a preset uses, its key, paths and metrics.

As documented for SGLang 0.4 to 0.5: ``--api-key`` guards everything but what begins with ``/health`` or ``/metrics``;
metrics are there with ``--enable-metrics`` only; the memory fraction is of what is free, weights and cache together.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from fake_server import Server, serve

parser = argparse.ArgumentParser(prog="launch_server.py")
parser.add_argument("--model-path", "--model", required=True)
parser.add_argument("--served-model-name")
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", type=int, default=30000)
parser.add_argument("--tensor-parallel-size", "--tp-size", "--tp", type=int, default=1)
parser.add_argument("--max-running-requests", type=int)
parser.add_argument("--mem-fraction-static", type=float)
parser.add_argument("--context-length", type=int)
parser.add_argument("--quantization")
parser.add_argument("--api-key")
parser.add_argument("--enable-metrics", action="store_true")
parser.add_argument("--log-level-http")
parser.add_argument("--dtype", choices=["auto", "half", "bfloat16"], default="auto")
args = parser.parse_args()
print(f"server_args=ServerArgs({vars(args)})", flush=True)

if not Path(args.model_path, "config.json").is_file():
    sys.exit(f"OSError: {args.model_path} does not appear to have a file named config.json.")
if args.mem_fraction_static is not None and args.mem_fraction_static < 0.05:
    sys.exit("RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.")
seen = [device for device in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if device]
if len(seen) != args.tensor_parallel_size:
    sys.exit(f"ValueError: {args.tensor_parallel_size} devices are wanted, and {len(seen)} are there")
names = ("sglang:num_running_reqs", "sglang:num_queue_reqs", "sglang:generation_tokens_total")
counts = dict.fromkeys(names, 0) if args.enable_metrics else {}
try:
    name = args.served_model_name or args.model_path
    server = Server(args.host, args.port, name, key=args.api_key, guarded="/", counts=counts)
except OSError as error:
    sys.exit(f"ERROR:    [Errno 98] error while attempting to bind on address ('{args.host}', {args.port}): {error}")
serve(server)
