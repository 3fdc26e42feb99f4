"""A real upstream with TLS that shakes hands with one client after the other, as a full load balancer does."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.contract.faulty_llm import chunk

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key, as files."""
    made, key = folder / "tls.crt", folder / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2",
         "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(made)],
        check=True, capture_output=True,
    )  # fmt: skip
    return made, key


class SlowHandshakes:
    """Takes `pace` seconds more for each handshake. Each connection gets one stream: a token at once, and the rest once
    the test lets it `go`; `streaming` counts those that wait for it."""

    def __init__(self, files: tuple[Path, Path], pace: float) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*files)
        self._pace = pace
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self._go = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self.streaming = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._go.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(20)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"https://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def go(self) -> None:
        """Let all streams end."""
        self._go.set()

    def _accept(self) -> None:
        while True:
            try:
                taken, _ = self._listener.accept()
            except OSError:
                return  # closed: the test is over
            time.sleep(self._pace)  # what it is slow by
            try:
                encrypted = self._context.wrap_socket(taken, server_side=True)
            except OSError:
                taken.close()  # its client gave up
                continue
            threading.Thread(target=self._answer, args=(encrypted,), daemon=True).start()

    def _answer(self, taken: ssl.SSLSocket) -> None:
        def send(*parts: bytes) -> None:
            taken.sendall(b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts))

        with taken, taken.makefile("rb") as asked:
            while asked.readline() not in (b"\r\n", b""):
                pass
            taken.sendall(_HEAD)
            send(chunk(content="we "))
            with self._lock:
                self.streaming += 1
            self._go.wait()
            send(chunk(content="buy"), chunk(), b"data: [DONE]\n\n", b"")
