"""Put first on PYTHONPATH, this makes every connection beyond loopback fail, in this interpreter
and its kernels.
"""

import socket

_connect, _connect_ex, _lookup = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo


def _check(host):
    # 0.0.0.0 is no other computer: connected to, it is this one, and waitress looks it up when it
    # is given a socket
    if str(host) not in ("localhost", "::1", "0.0.0.0", "") and not str(host).startswith("127."):
        raise ConnectionRefusedError(f"offline: a connection to {host} was attempted")


def _guard(method):
    def guarded(self, address, *rest):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _check(address[0])
        return method(self, address, *rest)

    return guarded


def _guarded_lookup(host, *rest, **keywords):
    if host is not None:
        _check(host.decode() if isinstance(host, bytes) else host)
    return _lookup(host, *rest, **keywords)


socket.socket.connect, socket.socket.connect_ex = _guard(_connect), _guard(_connect_ex)
socket.getaddrinfo = _guarded_lookup
