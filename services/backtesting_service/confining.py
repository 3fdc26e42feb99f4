"""A process without network and without anybody's secrets, for as long as it lives, and all that it starts.

Two things of the Linux kernel that any process may ask for itself, and cannot give back: a filter of system calls
(seccomp: no socket is made, no other process is looked into) and rules for files (Landlock: some folders may be read,
fewer be written; a service account's token lies in none of them). Sources: seccomp(2), landlock(7), the kernel's
include/uapi/linux/{seccomp,filter,landlock}.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS, _SECCOMP_SET_MODE_FILTER, _SECCOMP_ALL_THREADS = 38, 1, 1
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_VERSION, _LANDLOCK_PATH_BENEATH = 1, 1
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_RIGHTS_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights over files that a version of Landlock knows; the newest that is not above the kernel's counts."""
_OF_A_FILE = _EXECUTE | 1 << 1 | _READ_FILE | 1 << 14 | 1 << 15
"""Rights that a rule for a single file may give."""

_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_LOAD, _EQUAL, _ABOVE, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_RET|K
_OTHER_TABLE = 0x40000000
"""From this number on x86-64 has its calls a second time."""
_COMMON = {"pidfd_send_signal": 424, "io_uring_setup": 425, "pidfd_open": 434, "pidfd_getfd": 438}
_MACHINES: Mapping[str, tuple[int, int, Mapping[str, int]]] = {
    "x86_64": (
        0xC000003E,
        317,
        {
            "socket": 41, "connect": 42, "bind": 49, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311,
            "kill": 62, "tkill": 200, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297,
            "unshare": 272, "setns": 308, "bpf": 321, "keyctl": 250, **_COMMON,
        },
    ),
    "aarch64": (
        0xC00000B7,
        277,
        {
            "socket": 198, "connect": 203, "bind": 200, "ptrace": 117, "process_vm_readv": 270,
            "process_vm_writev": 271, "kill": 129, "tkill": 130, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240,
            "unshare": 97, "setns": 268, "bpf": 280, "keyctl": 219,
            **_COMMON,
        },
    ),
}  # fmt: skip
"""By machine: what the kernel calls it, the number of seccomp(2), and what is refused. tgkill stays, by which a process
ends itself; where Landlock knows of signals (version 6), it reaches no other."""


class CannotConfine(OSError):
    """This kernel, or what the container may ask of it, does not allow it: what was refused."""


def end_with_parent() -> None:
    """Have this process be killed once the thread that began it has ended: what never ends must not outlive it."""
    _asked(_LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "to end with its parent")


def confine(read: Iterable[Path], write: Iterable[Path]) -> None:
    """Bind this process: files below `read` can be read and run, those below `write` be changed too, nothing else be
    opened; no socket can be made. Paths that do not exist are passed over, what is open stays open. The rules for files
    bind the thread that calls and those that it starts, the filter all. Raises CannotConfine."""
    _asked(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    _restrict_files(read, write)
    _restrict_calls()


def _restrict_files(read: Iterable[Path], write: Iterable[Path]) -> None:
    abi = _LIBC.syscall(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION)
    _asked(abi, "Landlock")
    rights = _RIGHTS_BY_ABI[max(known for known in _RIGHTS_BY_ABI if known <= abi)]
    # Of TCP there are no rules, so that nothing is allowed; of what can be scoped, sockets without a file, and signals.
    words = 1 + (abi >= 4) + (abi >= 6)
    attributes = struct.pack(f"{words}Q", *(rights, 0b11, 0b11)[:words])
    rules = _asked(_LIBC.syscall(_LANDLOCK_CREATE, attributes, len(attributes), 0), "rules for files")
    try:
        for paths, given in ((read, _READ), (write, rights)):
            for path in paths:
                _allow(rules, path, given & rights)
        _asked(_LIBC.syscall(_LANDLOCK_RESTRICT, rules, 0), "rules for files")
    finally:
        os.close(rules)


def _allow(rules: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= _OF_A_FILE
        rule = struct.pack("=Qi", rights, place)
        _asked(_LIBC.syscall(_LANDLOCK_ADD, rules, _LANDLOCK_PATH_BENEATH, rule, 0), f"a rule for {path}")
    finally:
        os.close(place)


def _restrict_calls() -> None:
    machine = platform.machine()
    if machine not in _MACHINES:
        raise CannotConfine(errno.ENOSYS, f"the numbers of system calls are not known for {machine}")
    audit, seccomp, refused = _MACHINES[machine]
    program = _filter(audit, sorted(refused.values()))
    code = ctypes.create_string_buffer(b"".join(program))
    told = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    what = "a filter of system calls"
    if _asked(_LIBC.syscall(seccomp, _SECCOMP_SET_MODE_FILTER, _SECCOMP_ALL_THREADS, told), what):
        raise CannotConfine(errno.EBUSY, f"{what}: a thread has one of its own already")


def _filter(audit: int, refused: Sequence[int]) -> list[bytes]:
    """The program: refuses calls of another machine's table, and those of these numbers."""
    last = len(refused) + 5
    tests = [
        (_LOAD, 4, 0, 0),  # whose table the call is of
        (_EQUAL, audit, 0, last),
        (_LOAD, 0, 0, 0),  # its number
        (_ABOVE, _OTHER_TABLE, last, 0),
        *((_EQUAL, number, last, 0) for number in refused),
        (_RETURN, _ALLOW, 0, 0),
        (_RETURN, _REFUSE, 0, 0),
    ]
    # A jump counts from the instruction behind it; 0 goes on.
    return [
        struct.pack("HBBI", what, *(target and target - place - 1 for target in (true, false)), value)
        for place, (what, value, true, false) in enumerate(tests)
    ]


def _asked(answer: int, what: str) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise CannotConfine(number, f"{what}: {os.strerror(number)}")
    return answer
