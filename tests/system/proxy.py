"""A TCP proxy between the program and Postgres that does to its connections what networks do.

    reset    both sides are cut with RST
    hang     nothing passes any more, in either direction, and nobody is told
    half     the first half of what the program sends next is passed on, then as `hang`
    delay    what comes next is passed on later
    drip     what comes next is passed on byte by byte
    swallow  what the program sends next is passed on; the server's answer is taken, thrown away, and both sides are cut:
             what was sent was committed, and nobody hears of it

A broken connection is cut by mend(), or after `patience` seconds.
"""
import random
import selectors
import socket
import struct
import threading
import time

FAULTS = ("reset", "hang", "half", "delay", "drip", "swallow")


class Link:
    """One connection through the proxy."""

    def __init__(self, client, server):
        self.client, self.server = client, server
        self.fault = None
        self.until = None               # of a delay
        self.broken_at = None
        self.held = {client: b"", server: b""}      # taken from that side, not passed on yet
        self.asked = False              # swallow: something was sent since

    def other(self, side):
        return self.server if side is self.client else self.client


class Proxy(threading.Thread):
    """connect: how to reach the server, a path of a Unix socket. Any thread may call fault(), mend(), close()."""

    def __init__(self, socket_path, seed, patience=2.0):
        super().__init__(daemon=True)
        self.socket_path = socket_path
        self.random = random.Random(seed)
        self.patience = patience
        self.done = {kind: 0 for kind in FAULTS}
        self._links = []
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._enough = threading.Event()
        self.port = self._listener.getsockname()[1]
        self.start()

    # --- what a test asks for ---

    def fault(self, kind, delay=0.3):
        """Does it to one of the healthy connections; False when there is none."""
        with self._lock:
            links = [link for link in self._links if link.fault is None]
            if not links:
                return False
            link = self.random.choice(links)
            link.fault = kind
            if kind in ("delay", "drip"):
                link.until = time.monotonic() + delay
            if kind in ("reset", "hang"):
                link.broken_at = time.monotonic()
            if kind == "reset":
                self._cut(link)
            self.done[kind] += 1
            return True

    def mend(self):
        """Cuts what was broken."""
        with self._lock:
            for link in [link for link in self._links if link.broken_at is not None]:
                self._cut(link)

    def close(self):
        self._enough.set()
        self.join(10)
        with self._lock:
            for link in list(self._links):
                self._cut(link)
        self._listener.close()
        self._selector.close()

    # --- the thread ---

    def _cut(self, link):
        for side in (link.client, link.server):
            try:
                self._selector.unregister(side)
            except (KeyError, ValueError):
                pass
            try:
                if side is link.client:
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                side.close()
            except OSError:
                pass
        if link in self._links:
            self._links.remove(link)

    def _accept(self):
        client, _ = self._listener.accept()
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self.socket_path)
        except OSError:
            client.close()
            server.close()
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(client, server)
        self._links.append(link)
        for side in (client, server):
            self._selector.register(side, selectors.EVENT_READ, link)

    def _take(self, link, side):
        try:
            data = side.recv(65536)
            if not data:
                self._cut(link)
                return
            from_client = side is link.client
            if link.fault == "hang" or link.broken_at is not None:
                return
            if link.fault == "half" and from_client:
                link.server.sendall(data[:max(len(data) // 2, 1)])
                link.broken_at = time.monotonic()
                return
            if link.fault == "swallow":
                if from_client:
                    link.asked = True
                elif link.asked:
                    link.broken_at = time.monotonic() - self.patience + 0.05       # the rest of the answer comes too
                    return
            if link.fault in ("delay", "drip"):
                link.held[side] += data
                return
            link.other(side).sendall(data)
        except OSError:
            self._cut(link)

    def _late(self, now):
        """Passes on what was held, cuts what has been broken for long enough."""
        for link in list(self._links):
            if link.broken_at is not None and now - link.broken_at > self.patience:
                self._cut(link)
            elif link.until is not None:
                self._pass_held(link, now)

    def _pass_held(self, link, now):
        over = now > link.until
        try:
            for side in (link.client, link.server):
                part = len(link.held[side]) if over else 1 if link.fault == "drip" else 0
                if part:
                    link.other(side).sendall(link.held[side][:part])
                    link.held[side] = link.held[side][part:]
        except OSError:
            self._cut(link)
            return
        if over:
            link.until = link.fault = None

    def run(self):
        while not self._enough.is_set():
            busy = any(link.until is not None for link in self._links)
            events = self._selector.select(0.002 if busy else 0.02)
            with self._lock:
                for key, _ in events:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.data in self._links and key.fileobj.fileno() >= 0:
                        self._take(key.data, key.fileobj)
                self._late(time.monotonic())
