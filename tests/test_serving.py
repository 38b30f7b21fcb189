"""Servers start, answer, and end: also when they fail, hang, or their notebook is killed. The server here is a toy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest

from shared import serving
from shared.serving import Server, ServerError, choose_engine, engine_command, free_port

TOY = """
import http.server, os, signal, sys, time
port, behaviour = int(sys.argv[1]), sys.argv[2]
if behaviour == "dies":
    sys.exit("no module named vllm")
if behaviour == "silent":
    time.sleep(60)
if behaviour == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
print("working in", os.path.basename(os.getcwd()), "offline", os.environ["HF_HUB_OFFLINE"], flush=True)
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Makes a server of the toy with a behaviour, and stops what a failing test left."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "toy_server.py").write_text(TOY)
    (tmp_path / "run" / "merged").mkdir(parents=True)
    (tmp_path / "run" / "merged" / "config.json").write_text("{}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    monkeypatch.setattr(serving, "GRACE", 1.0)
    made = []

    def make(behaviour, patience=20.0):
        arguments = ["toy_server", "{port}", behaviour]
        made.append(Server(tmp_path / "run" / "merged", engine="transformers", patience=patience, arguments=arguments))
        return made[-1]

    yield make
    for server in made:
        server.stop()


def process_of(server):
    return psutil.Process(server._process.pid)


def gone(process, seconds=8.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_a_server_answers_inside_the_block_and_is_gone_after_it(toy):
    with toy("well") as server:
        process = process_of(server)
        assert server.running and server.started_after > 0
        assert urllib.request.urlopen(server.url.replace("/v1", "/health"), timeout=5).status == 200
        assert server.memory() > 1
        assert str(server.client().base_url) == server.url + "/"
    assert gone(process) and not server.running


def test_it_runs_beside_the_model_without_network_and_writes_a_log(toy):
    with toy("well") as server:
        assert server.model == "merged" and server.log.name == "server.log"
    assert "working in run offline 1" in server.log.read_text()


def test_an_error_in_the_block_ends_the_server(toy):
    with pytest.raises(ZeroDivisionError), toy("well") as server:
        process = process_of(server)
        1 / 0  # noqa: B018
    assert gone(process)


def test_one_that_ends_at_once_shows_its_log(toy):
    with pytest.raises(ServerError, match="no module named vllm") as caught:
        toy("dies").start()
    assert "exit code 1" in str(caught.value) and "fix" in str(caught.value)


def test_one_that_never_answers_is_stopped_after_the_patience(toy):
    server = toy("silent", patience=1.0)
    server.start(wait=False)
    process = process_of(server)
    with pytest.raises(ServerError, match="did not answer within"):
        server.wait_ready()
    assert gone(process)


def test_one_that_ignores_the_polite_signal_is_killed(toy):
    server = toy("stubborn").start()
    process = process_of(server)
    server.stop()
    assert gone(process)
    server.stop()  # a second time does nothing


def test_it_does_not_start_twice(toy):
    server = toy("well").start()
    with pytest.raises(ServerError, match="runs already"):
        server.start()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_it_ends_when_its_notebook_is_killed(toy, tmp_path):
    script = (
        "import time, sys; from shared.serving import Server\n"
        "s = Server(sys.argv[1], engine='transformers', arguments=['toy_server', '{port}', 'well']).start()\n"
        "print(s._process.pid, flush=True); time.sleep(60)"
    )
    kernel = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "run" / "merged")], stdout=subprocess.PIPE,
                              text=True, env={**os.environ})  # fmt: skip
    process = psutil.Process(int(kernel.stdout.readline()))
    assert process.is_running()
    kernel.kill()
    kernel.wait()
    assert gone(process)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ServerError, match=r"config\.json"):
        Server(tmp_path)


@pytest.mark.parametrize(
    ("cuda", "vllm", "want", "reason"),
    [
        (True, True, "vllm", "pages"),
        (True, False, "transformers", "not installed"),
        (False, True, "transformers", "no CUDA"),
    ],
)
def test_the_engine_is_chosen_with_a_reason(monkeypatch, cuda, vllm, want, reason):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(serving.importlib.util, "find_spec", lambda name: object() if vllm else None)
    engine, why = choose_engine()
    assert engine == want and reason in why


@pytest.mark.parametrize("engine", ["vllm", "transformers"])
def test_the_command_names_the_model_and_listens_on_this_machine_only(engine, tmp_path):
    command = engine_command(engine, tmp_path / "merged", 8123, "float32")
    assert "merged" in command and str(tmp_path) not in " ".join(command)
    assert command[command.index("--host") + 1] == "127.0.0.1" and command[command.index("--port") + 1] == "8123"


def test_an_unknown_engine_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="vllm or transformers"):
        engine_command("ollama", tmp_path, 1)


def test_a_free_port_can_be_listened_on():
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", free_port()))
