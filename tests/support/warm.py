"""A Python whose processes have imported everything already: they begin in milliseconds.

Torch, transformers and the jobs take some ten seconds of a core to import, and tests of job files,
launchers and killed runs start dozens of processes. ``python()`` is an executable that can stand
for ``sys.executable``: it takes ``-m module``, ``-c code`` or a file. A server that imported once
forks for each call and gives the fork the call's arguments, environment, directory and open files;
the executable ends with the fork's exit code or signal. What a fork starts is a fork too.

All forks of a server hash strings alike. Where two processes have to give the same, let one be the
test's own, which has another seed.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import Any

__all__ = ["python"]

PRELOADED = [
    *(f"tinybert.jobs.{verb}" for verb in ("general", "distill", "finetune", "mlm", "augment")),
    *(f"tinybert.jobs.{verb}" for verb in ("reproduce", "corpus", "convert")),
    "torch.distributed.run",
    "support.killed",
]

CLIENT = """#!{python} -IS
import array, json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({path!r})
files = []
for name in os.listdir("/dev/fd"):
    try:
        os.fstat(int(name))
    except OSError:
        continue
    if int(name) != server.fileno():
        files.append(int(name))
asked = dict(argv=sys.argv[1:], cwd=os.getcwd(), env=dict(os.environ), files=files)
said = json.dumps(asked).encode("utf-8", "surrogateescape")
carried = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
server.sendmsg([len(said).to_bytes(8, "little")], carried)
server.sendall(said)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, _: server.sendall(bytes([number])))
code = int(server.makefile().readline() or 70)
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if code != -signal.SIGKILL else None
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@functools.cache
def python() -> str:
    """The executable; its server starts at the first call and ends with this process."""
    place = Path(tempfile.mkdtemp(prefix="warm-"))
    client = place / "python"
    client.write_text(CLIENT.format(python=sys.executable, path=str(place / "socket")))
    client.chmod(0o755)
    found = [path for path in sys.path if path]
    server = subprocess.Popen(
        [sys.executable, "-m", "support.warm", str(place)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(found)},
        stdin=subprocess.PIPE,  # closed when this process ends, however it does
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"

    def end() -> None:
        server.kill()
        server.wait()
        for path in place.iterdir():
            path.unlink()
        place.rmdir()

    atexit.register(end)
    return str(client)


def _serve(place: Path) -> tuple[dict[str, Any], list[int]]:
    """Fork for every call; returns in the forks alone, with what is asked and the files."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place / "socket"))
    listener.listen(64)
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    while True:
        if sys.stdin in select.select([listener, sys.stdin], [], [])[0]:
            os._exit(0)
        call, _ = listener.accept()
        if os.fork() == 0:
            break
        call.close()
        with contextlib.suppress(ChildProcessError):  # keepers that have ended
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    listener.close()
    head, files, _, _ = socket.recv_fds(call, 8, 250)
    size = int.from_bytes(head, "little")
    asked = json.loads(call.makefile("rb").read(size))
    child = os.fork()
    if child:
        for file in files:
            os.close(file)
        _keep(child, call)
    call.close()
    return asked, files


def _keep(child: int, call: socket.socket) -> None:
    """Wait for the fork, hand it signals, end it if its client ends; tell the client how it did."""
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if select.select([call], [], [], 0.02)[0]:
            given = call.recv(1)
            os.kill(child, given[0] if given else signal.SIGKILL)
            if not given:
                os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        call.sendall(b"%d\n" % code)
    finally:
        os._exit(0)


def _become(asked: dict[str, Any], files: list[int], client: str) -> None:
    """What a new interpreter would be after its start."""
    import fcntl
    import multiprocessing

    moved = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 600) for file in files]
    for file in files:
        os.close(file)
    for file, number in zip(moved, asked["files"], strict=True):
        os.dup2(file, number, inheritable=True)
        os.close(file)
    # New streams: those of the server remember what its own files were, such as pipes.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for as long as the process lives
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.executable = client
    multiprocessing.set_executable(client)


def _run(argv: list[str]) -> None:
    """As ``python`` would: flags, then a module, code or a file with its arguments."""
    import runpy

    words = list(argv)
    while words and words[0].startswith("-") and words[0] not in ("-m", "-c"):
        words.pop(0)
    if words[0] == "-m":
        sys.argv = words[1:]
        sys.path.insert(0, os.getcwd())
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        sys.path.insert(0, "")
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).resolve().parent))
        runpy.run_path(words[0], run_name="__main__")


def _end(argv: list[str]) -> None:
    """Run, and end as Python does, but for tearing down all modules: that takes seconds."""
    code = 0
    try:
        _run(argv)
    except SystemExit as left:
        if isinstance(left.code, str):
            print(left.code, file=sys.stderr)
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    _place = Path(sys.argv[1])
    _asked, _files = _serve(_place)
    _become(_asked, _files, str(_place / "python"))
    _end(_asked["argv"])
