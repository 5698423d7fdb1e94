"""The TLS contexts of a DICOM connection, one for each side (PS3.15 Annex B).

The side that calls checks the certificate of the side that listens: who signed it, and whether it
names the host that was called. With *mutual* TLS the listening side checks the caller's certificate
too. Both contexts follow the BCP 195 profile (PS3.15 B.12): TLS 1.2 or later, and the ciphers that
OpenSSL regards as safe.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from magician.errors import TlsFailure


def client_tls(*, ca=None, certificate=None, key=None) -> ssl.SSLContext:
    """Make the context of the side that calls, for ``Node(..., tls=client_tls(ca="ca.pem"))``.

    Parameters
    ----------
    ca : path, optional
        The certificate of the authority that signed the PACS's certificate, or the PACS's
        certificate itself if it is self-signed (PEM). Without it, the authorities of this computer
        are trusted; a hospital's is seldom among them.
    certificate, key : path, optional
        Our own certificate and its private key (PEM), for a PACS that checks its callers. The key
        may lie in the certificate's file.

    Raises
    ------
    TlsFailure
        If a file can't be read, is no certificate, or the key is not that of the certificate.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca is not None:
        # only this authority: whoever owns one of the public ones must not pass for the PACS
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _trust(context, ca)
    if certificate is not None:
        _identify(context, certificate, key)
    return context


def server_tls(certificate, key=None, *, ca=None) -> ssl.SSLContext:
    """Make the context of the side that listens, for ``Receiver(..., tls=...)`` and
    ``PracticePacs(tls=...)``.

    Parameters
    ----------
    certificate, key : path
        The listener's certificate, which names its host, and its private key (PEM).
    ca : path, optional
        Accept only callers whose certificate this authority signed (mutual TLS). Without it, every
        caller is accepted, over an encrypted connection.

    Raises
    ------
    TlsFailure
        As for `client_tls`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _identify(context, certificate, key)
    if ca is not None:
        _trust(context, ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _trust(context: ssl.SSLContext, ca) -> None:
    try:
        context.load_verify_locations(cafile=Path(ca))
    except (OSError, ssl.SSLError) as error:
        raise TlsFailure(
            f"{ca} can't be used as an authority ({error}). It must be a certificate in PEM."
        ) from error


def _identify(context: ssl.SSLContext, certificate, key) -> None:
    try:
        # an empty password instead of a question on the terminal, which a notebook would never see
        context.load_cert_chain(
            Path(certificate), None if key is None else Path(key), password=lambda: ""
        )
    except (OSError, ssl.SSLError) as error:
        raise TlsFailure(
            f"{certificate} and {key or 'the key in the same file'} can't be used ({error}). They "
            f"must be a certificate and its own private key, both in PEM, the key without a "
            f"password."
        ) from error
