"""nginx as a bare reverse proxy: what a byte costs that nobody looks at. It is the limit that ratios are taken to.

Taken from the system where it is installed; else Debian's package is unpacked into ``bench/.venv``, so that no service
is installed or started on a developer's machine.
"""

import os
import shutil
import subprocess
from pathlib import Path

from bench.peer.environment import VENV
from bench.peer.interface import Pace, Running, Site, UnavailableError, wait_ready
from bench.port import free_port

UNPACKED = VENV / "nginx"

# Requests stay in memory (by default 16 KiB and more go to a file), no log is written, connections live long:
# everything that makes nginx cheaper is on, because it stands for the cheapest there is.
CONFIG = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
{user}
events {{ worker_connections 16384; multi_accept on; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  tcp_nodelay on;
  client_max_body_size 64m;
  client_body_buffer_size 1m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream engine {{
    server 127.0.0.1:{upstream} max_fails=0;
    keepalive 4096;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://engine;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 600s;
    }}
  }}
}}
"""


class Nginx:
    name = "nginx"
    about = "`proxy_buffering off`, keep-alive both ways, no log, bodies in memory; one worker"
    pace = Pace()
    starts = 3

    def install(self) -> str:
        done = subprocess.run([_binary(), "-v"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise UnavailableError(f"does not run: {done.stderr.strip()[:300]}")
        return done.stderr.strip().rpartition("/")[2]

    def start(self, site: Site) -> Running:
        port = free_port()
        user = "user root;" if os.geteuid() == 0 else ""
        text = CONFIG.format(folder=site.folder, upstream=site.upstream_port, port=port, user=user, files=16384)
        config = site.folder / "nginx.conf"
        config.write_text(text)
        argv = [_binary(), "-p", site.folder, "-e", site.folder / "error.log", "-c", config]
        child = site.gateway_child(argv)
        return Running(self.name, port, child, wait_ready(child, port, "/v1/models", 10), self.pace)


def _binary() -> Path:
    """Return nginx' program, fetched if it must be. Raises: UnavailableError."""
    for found in (shutil.which("nginx"), shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")):
        if found:
            return Path(found)
    unpacked = UNPACKED / "usr/sbin/nginx"
    if not unpacked.exists():
        _unpack()
    return unpacked


def _unpack() -> None:
    if not shutil.which("apt-get"):
        raise UnavailableError("not installed, and this is no Debian to fetch it from: install the package nginx")
    UNPACKED.mkdir(parents=True, exist_ok=True)
    fetch = "apt-get download nginx || { apt-get update && apt-get download nginx; }"
    script = f"({fetch}) && dpkg -x nginx_*.deb . && test -x usr/sbin/nginx"
    done = subprocess.run(["sh", "-c", script], cwd=UNPACKED, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnavailableError(f"not installed, and could not be fetched: {done.stderr.strip()[-300:]}")
