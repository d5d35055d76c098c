"""Makes self-signed certificates for tests of TLS, with the ``openssl`` program."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

MISSING = "openssl is not installed; tests of TLS need it to make a certificate"


def can_make() -> bool:
    """Whether openssl is installed."""
    return shutil.which("openssl") is not None


def make(pem: Path) -> str:
    """Writes a new certificate for 127.0.0.1 and its key to one file; returns its name."""
    key = pem.with_suffix(".key")
    subject = ["-subj", "/CN=stash courier test", "-addext", "subjectAltName=IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(
        ["openssl", "req", "-x509", *curve, "-days", "2", *subject, "-keyout", key, "-out", pem],
        check=True,
        capture_output=True,
    )
    pem.write_text(pem.read_text() + key.read_text())
    return str(pem)
