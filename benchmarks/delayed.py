"""An ssh ProxyCommand that lets everything arrive late: delayed.py HOST PORT MILLISECONDS (each way)."""

from __future__ import annotations

import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable

CHUNK = 1 << 16


def carry(read: Callable[[], bytes], write: Callable[[bytes], object], delay: float) -> None:
    """Carry bytes until there are no more; each piece arrives `delay` seconds after it came."""
    pieces: queue.Queue[tuple[float, bytes]] = queue.Queue()

    def take() -> None:
        while True:
            piece = read()
            pieces.put((time.monotonic() + delay, piece))
            if not piece:
                return

    threading.Thread(target=take, daemon=True).start()
    while True:
        due, piece = pieces.get()
        time.sleep(max(0.0, due - time.monotonic()))
        if not piece:
            return
        write(piece)


def main() -> None:
    """Stand between ssh (stdin, stdout) and its server."""
    host, port, delay = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) / 1000
    far = socket.create_connection((host, port))
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    up = threading.Thread(target=carry, args=(lambda: os.read(0, CHUNK), far.sendall, delay), daemon=True)
    up.start()
    carry(lambda: far.recv(CHUNK), lambda piece: os.write(1, piece), delay)


if __name__ == "__main__":
    main()
