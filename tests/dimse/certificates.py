"""Certificates for tests, made by the openssl program: two authorities, and who was certified by
which.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from helpers import require_program


@dataclass(frozen=True)
class Certificate:
    certificate: Path
    key: Path


class Authority:
    """A certificate authority of its own in a folder; `pem` is what others must trust."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.pem, self.key = folder / f"{name}.pem", folder / f"{name}.key"
        openssl(
            "req",
            "-x509",
            *NEW_KEY,
            "-keyout",
            self.key,
            "-out",
            self.pem,
            "-days",
            2,
            "-subj",
            f"/CN={name}",
        )

    def certify(
        self, name: str, *, hosts: str = "DNS:localhost,IP:127.0.0.1", days: int = 2
    ) -> Certificate:
        """Make a key and a certificate; with 0 `days` one that has expired."""
        path = self.folder / f"{self.name}-{name}"
        request, key, extensions, certificate = (
            path.with_suffix(x) for x in (".csr", ".key", ".ext", ".pem")
        )
        openssl("req", "-new", *NEW_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        extensions.write_text(f"subjectAltName={hosts}\n")
        openssl(
            "x509", "-req", "-in", request, "-CA", self.pem, "-CAkey", self.key, "-CAcreateserial",
            "-days", days, "-extfile", extensions, "-out", certificate,
        )  # fmt: skip
        return Certificate(certificate, key)


NEW_KEY = ["-newkey", "rsa:2048", "-nodes"]


def openssl(*arguments) -> None:
    command = [require_program("openssl"), *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
