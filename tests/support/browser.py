"""A headless Chromium, driven by plain WebDriver requests, and a server of files for it."""

from __future__ import annotations

import functools
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
]


def missing() -> str:
    """Why no browser can be driven here; empty where one can."""
    if not _chromium():
        return "Chromium is not installed"
    return "" if shutil.which("chromedriver") else "chromedriver is not installed"


def _chromium() -> str | None:
    found = (shutil.which(n) for n in ("chromium", "chromium-browser", "google-chrome"))
    return next((path for path in found if path), None)


class Browser:
    """One window. ``run`` takes JavaScript; an ``await`` in it is waited for."""

    def __init__(self, port: int, profile: Path, **preferences: Any) -> None:
        self._base = f"http://127.0.0.1:{port}"
        options = {
            "binary": _chromium(),
            "args": [*FLAGS, f"--user-data-dir={profile}"],
            **preferences,
        }
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"script": 120_000, "pageLoad": 60_000},
        }
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._base += f"/session/{made['sessionId']}"

    def open(self, address: str) -> None:
        self._call("POST", "/url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value that ``script``, the body of an async function of ``args``, returns."""
        body = (
            "const done = arguments[arguments.length - 1];"
            "const args = Array.from(arguments).slice(0, -1);"
            f"(async () => {{ {script} }})()"
            ".then((value) => done({ value }), (error) => done({ error: String(error) }));"
        )
        found = self._call("POST", "/execute/async", {"script": body, "args": list(arguments)})
        assert "error" not in found, found["error"]
        return found.get("value")

    def wait_for(self, condition: str, seconds: float = 90.0) -> None:
        """Until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < end, f"never: {condition}\n{self.log()}"
            time.sleep(0.1)

    def devtools(self, command: str, **parameters: Any) -> Any:
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def log(self) -> list[str]:
        """What the console has said since the last call."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def close(self) -> None:
        self._call("DELETE", "")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._base + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=150) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()[:2000]) from None


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with a new, empty profile."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}", "--log-level=SEVERE"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(port)
        window = Browser(port, profile)
        try:
            yield window
        finally:
            window.close()
    finally:
        driver.terminate()
        driver.wait(10)


def _wait(port: int) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < end, "chromedriver does not answer"
            time.sleep(0.1)


class _Files(SimpleHTTPRequestHandler):
    """Files, of which one may stop half way until it is told to go on."""

    def __init__(self, *args: Any, halting: tuple[str, threading.Event] | None, **kwargs: Any):
        self._halting = halting
        super().__init__(*args, **kwargs)

    def log_message(self, *_: Any) -> None:
        pass

    def copyfile(self, source: Any, outputfile: Any) -> None:
        if self._halting is not None and self.path.endswith(self._halting[0]):
            content = source.read()
            outputfile.write(content[: len(content) // 2])
            self._halting[1].wait(60)
            outputfile.write(content[len(content) // 2 :])
        else:
            super().copyfile(source, outputfile)


@contextmanager
def served(directory: Path, halting: tuple[str, threading.Event] | None = None) -> Iterator[str]:
    """The address of a directory, served as ``python -m http.server`` does.

    Args:
        directory: what is served.
        halting: end of a file's path, of which only half is sent until the event is set.
    """
    handler = functools.partial(_Files, directory=str(directory), halting=halting)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join(10)
