"""What a confined process can still reach: tried in a real one, for it cannot be taken back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.contract

_ROOT = Path(__file__).parents[2]
_TRIES = """
import ctypes, json, os, signal, socket, subprocess, sys, threading
from pathlib import Path
from services.backtesting_service.confining import confine

folder = Path(sys.argv[1])
loop, told = threading.Event(), {}

def tried(name, act):
    try:
        act()
        told[name] = "done"
    except OSError as error:
        told[name] = type(error).__name__

def elsewhere():
    loop.wait()
    tried("a socket of a thread that was there before", socket.socket)

before = threading.Thread(target=elsewhere)
before.start()
confine(
    [Path(sys.prefix), Path(sys.base_prefix), Path("/usr"), Path("/lib"), Path("/lib64"), folder / "read"],
    [folder / "write", folder / "missing"],
)
loop.set()
before.join()
for kind in ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"):
    tried(kind, lambda: socket.socket(getattr(socket, kind)))
tried("reads what it may", lambda: (folder / "read" / "a").read_text())
tried("writes where it may read", lambda: (folder / "read" / "b").write_text("x"))
tried("writes where it may", lambda: (folder / "write" / "b").write_text("x"))
tried("reads a secret", lambda: (folder / "secret").read_text())
tried("reads a secret by a link", lambda: (folder / "read" / "link").read_text())
tried("reads its parent's environment", lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes())
tried("signals its parent", lambda: os.kill(os.getppid(), 0))
tried("a pidfd of its parent", lambda: os.pidfd_open(os.getppid()))
child = "import socket; socket.socket()"
told["a child's socket"] = subprocess.run([sys.executable, "-c", child], capture_output=True).returncode
libc = ctypes.CDLL(None, use_errno=True)
told["ptrace"] = libc.ptrace(16, os.getppid(), 0, 0)
told["io_uring"] = libc.syscall(425, 8, ctypes.create_string_buffer(120))
print(json.dumps(told))
"""


def test_a_confined_process_has_no_network_and_sees_nobodys_secrets(tmp_path: Path) -> None:
    for name in ("read", "write"):
        (tmp_path / name).mkdir()
    (tmp_path / "read" / "a").write_text("plain")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "read" / "link").symlink_to(tmp_path / "secret")
    done = subprocess.run(
        [sys.executable, "-c", _TRIES, str(tmp_path)], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    if "CannotConfine" in done.stderr:
        pytest.skip(f"this kernel confines nobody: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    refused = "PermissionError"
    assert json.loads(done.stdout) == {
        "a socket of a thread that was there before": refused,
        **dict.fromkeys(("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"), refused),
        "reads what it may": "done",
        "writes where it may read": refused,
        "writes where it may": "done",
        "reads a secret": refused,
        "reads a secret by a link": refused,
        "reads its parent's environment": refused,
        "signals its parent": refused,
        "a pidfd of its parent": refused,
        "a child's socket": 1,
        "ptrace": -1,
        "io_uring": -1,
    }
