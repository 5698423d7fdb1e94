"""Check a room before the class: the class server, and this computer.

    python notebooks/teacher/check_room.py 192.168.1.20:11112    # from a learner's computer
    python notebooks/teacher/check_room.py 11112                 # where the server will run

With an address it asks whether the server there is reached, and sends thirty echoes at once. With a
port alone it asks whether the port is free. It sends no patient data.
"""

import os
import socket
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from magician import MagicianError, Node, diagnose, echo

LEARNERS = 30
NEEDED_GB = 1.2  # a kernel that has run a lesson, at its peak
REFUSED = "Nothing listens there: start the class server, or correct the port."
SILENT = (
    "No answer: a firewall drops the calls, or this is another network. On the server's computer, "
    "allow the port for incoming TCP: on Windows in Windows Defender Firewall, on macOS in System "
    "Settings > Network > Firewall, on Linux for instance by 'sudo ufw allow {port}/tcp'. Guest "
    "networks often keep computers from one another: ask for another one."
)


def main(arguments: list[str]) -> int:
    if len(arguments) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 2
    host, _, port = arguments[0].rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        print(f"{arguments[0]!r} is no port and no host:port, such as 192.168.1.20:11112.")
        return 2
    title = arguments[1] if len(arguments) == 2 else "CLASS"
    good = check_this_computer()
    if host:
        good &= check_server(host.strip("[]"), int(port), title)
    else:
        good &= check_port(int(port))
    print("ready" if good else "not ready")
    return 0 if good else 1


def check_this_computer() -> bool:
    """Say how much memory and how many cores there are."""
    memory = free_memory_gb()
    print(f"cores: {os.cpu_count()}")
    if memory is None:
        print(f"memory: unknown here; a lesson needs {NEEDED_GB} GB")
        return True
    print(f"memory: {memory:.1f} GB free, for {int(memory / NEEDED_GB)} lessons at once")
    return memory >= NEEDED_GB


def free_memory_gb() -> float | None:
    """Return the memory that programs can still take, in GB; None where this is not known."""
    try:
        import psutil  # comes with Jupyter
    except ImportError:
        return None
    return psutil.virtual_memory().available / 1e9


def check_port(port: int) -> bool:
    """Say whether the class server could listen on this port."""
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        print(f"port {port}: not free ({error.strerror}); take another one by --port")
        return False
    print(f"port {port}: free")
    return True


def check_server(host: str, port: int, title: str) -> bool:
    """Say whether the server is reached, and how long thirty learners wait for an echo."""
    try:
        socket.create_connection((host, port), timeout=5).close()
    except ConnectionRefusedError:
        print(f"{host}:{port}: refused. {REFUSED}")
        return False
    except OSError as error:
        print(f"{host}:{port}: {error}. {SILENT.format(port=port)}")
        return False
    node = Node(title, host, port)
    start = time.perf_counter()
    with ThreadPoolExecutor(LEARNERS) as pool:
        outcomes = list(pool.map(_timed_echo, [node] * LEARNERS))
    seconds = [outcome for outcome in outcomes if isinstance(outcome, float)]
    errors = [outcome for outcome in outcomes if not isinstance(outcome, float)]
    print(f"echoes at once: {len(seconds)} of {LEARNERS}, {time.perf_counter() - start:.1f} s")
    if seconds:
        print(f"one echo: median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s")
    if errors:
        print(f"the first that failed: {errors[0]}")
        print(diagnose(node))
    return not errors


def _timed_echo(node: Node) -> float | str:
    start = time.perf_counter()
    try:
        echo(node)
    except MagicianError as error:
        return str(error)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
