"""Start an existing OpenAI-compatible server from a notebook, and stop it reliably.

The server itself is vLLM or ``transformers serve``. This module chooses a free port, waits until the server answers,
writes its log to a file, and ends the process and all its children, even when the notebook's kernel is killed.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from shared.errors import PeftLabsError

HOST = "127.0.0.1"  # loopback only: the server cannot be reached from the network
GRACE = 5.0  # [s] between asking a server to stop and killing it


class ServerError(PeftLabsError):
    """A server did not start, did not answer in time, or ended too early."""


def choose_engine() -> tuple[str, str]:
    """Which server, and why.

    Returns:
        ``"vllm"`` or ``"transformers"``, and the reason in words.
    """
    import torch

    has_vllm = importlib.util.find_spec("vllm") is not None
    if torch.cuda.is_available() and has_vllm:
        return "vllm", "there is a CUDA GPU and vLLM is installed: it batches requests and pages their key-value cache"
    if torch.cuda.is_available():
        return "transformers", "there is a CUDA GPU, but vLLM is not installed (pip install vllm would be faster)"
    return "transformers", "there is no CUDA GPU, which vLLM needs"


def free_port() -> int:
    """A port of this machine that is free at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def engine_command(engine: str, folder: Path, port: int, dtype: str = "auto") -> list[str]:
    """Python module and arguments that start a server for one model folder.

    Both are started with the folder, so that no request can make them load another model (``transformers serve`` loads
    whatever a request names, unless ``--force_model`` is given).

    Args:
        engine: ``"vllm"`` or ``"transformers"``.
        folder: Model folder with config, weights and tokenizer; its last part becomes the model's name.
        port: Port to listen on.
        dtype: ``auto`` (as stored), ``float32``, ``bfloat16`` or ``float16``.

    Raises:
        ValueError: If there is no such engine.
    """
    where = ["--host", HOST, "--port", str(port), "--dtype", dtype]
    if engine == "vllm":
        serve = ["vllm.entrypoints.openai.api_server", "--model", folder.name, "--served-model-name", folder.name]
        return [*serve, *where]
    if engine == "transformers":
        serve = ["transformers.commands.transformers_cli", "serve", "--force_model", folder.name]
        return [*serve, "--log_level", "warning", *where]
    raise ValueError(f"there is no engine {engine!r}; choose vllm or transformers")


class Server:
    """A server as a context manager; or ``start()`` and ``stop()`` where it has to live over several cells.

    Args:
        folder: Model folder; the server runs in its parent, so that the model's name holds no path.
        engine: ``"vllm"`` or ``"transformers"``; None lets :func:`choose_engine` decide.
        log: File for the server's output; default ``server.log`` beside the model folder.
        dtype: Dtype of the weights; ``auto`` takes them as stored.
        patience: How long to wait until it answers [s]; default 120, for vLLM, which loads the model first, 900.
        arguments: Module and arguments instead of :func:`engine_command`'s; ``{port}`` is filled in.

    Attributes:
        engine, reason: The server and who chose it.
        model: The model's name for requests.
        started_after: Seconds from the start to the first answer of ``/health``; None before.

    Raises:
        ServerError: If the folder is no model.
    """

    def __init__(
        self,
        folder: str | Path,
        engine: str | None = None,
        log: str | Path | None = None,
        dtype: str = "auto",
        patience: float | None = None,
        arguments: Sequence[str] | None = None,
    ):
        self.folder = Path(folder).resolve()
        if not (self.folder / "config.json").is_file():
            raise ServerError(
                f"{self.folder.name} holds no config.json, so it is not a model to serve",
                fix="save the merged model and its tokenizer there first",
            )
        self.engine, self.reason = (engine, "asked for") if engine else choose_engine()
        self.model, self.dtype = self.folder.name, dtype
        self.patience = patience or (900.0 if self.engine == "vllm" else 120.0)
        self.log = Path(log) if log else self.folder.parent / "server.log"
        self.port, self.started_after = 0, None
        self._arguments, self._process, self._began = arguments, None, 0.0

    @property
    def url(self) -> str:
        """Base address for an OpenAI client."""
        return f"http://{HOST}:{self.port}/v1"

    def start(self, wait: bool = True) -> Server:
        """Start the process.

        Args:
            wait: Whether to wait until it answers; else call :meth:`wait_ready` later and do other work meanwhile.

        Raises:
            ServerError: If it runs already, ends at once, or does not answer in time.
        """
        if self._process is not None:
            raise ServerError(f"the server of {self.model!r} runs already", fix="stop() it before starting it again")
        self.port = free_port()
        if self._arguments is None:
            arguments = engine_command(self.engine, self.folder, self.port, self.dtype)
        else:
            arguments = [part.replace("{port}", str(self.port)) for part in self._arguments]
        # -P: the working directory is the run folder, and nothing may be imported from there
        command = [sys.executable, "-P", "-m", "shared.serving", str(os.getpid()), *arguments]
        self._began = time.perf_counter()
        with open(self.log, "w", encoding="utf8") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder.parent, env=_environment(os.environ), stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,  # Ctrl-C in the notebook must not reach it
            )  # fmt: skip
        atexit.register(self.stop)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self) -> Server:
        """Wait until ``/health`` answers.

        Raises:
            ServerError: If the process ends or does not answer within ``patience``; it is stopped then.
        """
        while not self._answers():
            code = self._process.poll() if self._process else None
            waited = time.perf_counter() - self._began
            if self._process is None or code is not None or waited > self.patience:
                why = f"ended with exit code {code}" if code is not None else f"did not answer within {waited:.0f} s"
                self.stop()
                raise ServerError(
                    f"the {self.engine} server {why}; the end of its log:\n{self.tail()}",
                    fix="read the log's last lines above; a missing package is fixed by `make setup`",
                )
            time.sleep(0.05)
        self.started_after = time.perf_counter() - self._began
        return self

    def _answers(self) -> bool:
        import httpx

        try:
            return httpx.get(f"http://{HOST}:{self.port}/health", timeout=2, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def client(self, timeout: float = 60.0) -> Any:
        """The real OpenAI client, talking to this server.

        Args:
            timeout: Longest wait for a piece of an answer [s]; without one a failing server would hang the notebook.
        """
        import openai

        # trust_env: requests to this machine must not go through a proxy from the environment
        return openai.OpenAI(
            base_url=self.url,
            api_key="not-needed-on-this-machine",
            timeout=timeout,
            max_retries=0,
            http_client=openai.DefaultHttpxClient(trust_env=False),
        )

    def memory(self) -> float:
        """Resident memory of the server and its children [MiB]: Python and libraries included, not only weights."""
        return sum(one.memory_info().rss for one in self._family()) / 2**20

    def tail(self, lines: int = 15) -> str:
        """The last lines of the log."""
        if not self.log.is_file():
            return "(no log)"
        return "\n".join(self.log.read_text(encoding="utf8", errors="replace").splitlines()[-lines:]) or "(empty)"

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End the server and its children; kill what does not end within :data:`GRACE`. Safe to call twice."""
        import psutil

        atexit.unregister(self.stop)
        family, process, self._process = self._family(), self._process, None
        for one in family:
            _quietly(one.terminate)
        _, alive = psutil.wait_procs(family, timeout=GRACE)
        for one in alive:
            _quietly(one.kill)
        if process is not None:
            process.wait(timeout=GRACE)

    def _family(self) -> list[Any]:
        import psutil

        if self._process is None:
            return []
        try:
            parent = psutil.Process(self._process.pid)
            return [*parent.children(recursive=True), parent]
        except psutil.NoSuchProcess:
            return []

    def __enter__(self) -> Server:
        return self if self.running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"Server({self.engine}, model {self.model!r}, {'running' if self.running else 'stopped'})"


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    """The server needs no network: its model is a folder."""
    wanted = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "VLLM_NO_USAGE_STATS": "1"}
    return {**own, **wanted, "PYTHONUNBUFFERED": "1"}


def _quietly(action: Any) -> None:
    import psutil

    try:
        action()
    except psutil.NoSuchProcess:
        pass  # it has ended in the meantime


def _end_with(parent: int, interval: float = 1.0) -> None:
    """Kill this process's group when the parent has gone: a killed kernel runs no clean-up code."""
    while os.getppid() == parent:
        time.sleep(interval)
    if hasattr(os, "killpg"):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


def main(argv: Sequence[str] | None = None) -> None:
    """``python -m shared.serving PARENT_PID MODULE ARGUMENTS…``: run a module that ends with its parent."""
    parent, module, *arguments = sys.argv[1:] if argv is None else argv
    threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
