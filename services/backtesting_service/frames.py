"""A line between the service and a process that runs what users wrote: a length, and so many bytes.

What comes over it is counted and read, never unpickled, run or looked up by its name.
"""

from __future__ import annotations

import os
import struct

LENGTH = struct.Struct(">Q")


def framed(content: bytes) -> bytes:
    """As it goes over the line."""
    return LENGTH.pack(len(content)) + content


class Line:
    """The end of the process that answers. It trusts who asks, and waits for as long as it takes. `orders`, `answers`:
    descriptors that it inherited."""

    def __init__(self, orders: int, answers: int) -> None:
        for number in (orders, answers):
            os.set_inheritable(number, False)  # programs that are started from here have no part in it
        self._orders, self._answers = os.fdopen(orders, "rb"), os.fdopen(answers, "wb")

    def receive(self) -> bytes | None:
        """The next order; None once nobody asks any more."""
        told = self._orders.read(LENGTH.size)
        if len(told) < LENGTH.size:
            return None
        (size,) = LENGTH.unpack(told)
        order = self._orders.read(size)
        return order if len(order) == size else None

    def send(self, header: bytes, *contents: bytes) -> None:
        """Answer: a frame, and behind it what it announces."""
        for part in (framed(header), *contents):
            self._answers.write(part)
        self._answers.flush()
