"""The files that keys name: there, readable for the node, and secrets for nobody else."""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

from dicom_node.settings.faults import Fault, KeyPlaces


def readable(path: Path, place: tuple[str, str], places: KeyPlaces) -> Iterator[Fault]:
    """Find whether a file cannot be read; ``place``: the section and key that name it."""
    if not os.access(path, os.R_OK) or not path.is_file():
        remedy = "put the file there, readable by the node's user, or correct the path"
        yield places.fault(place, f"{path} is not a readable file", remedy)


def private(path: Path, place: tuple[str, str], places: KeyPlaces) -> Iterator[Fault]:
    """Find whether a file cannot be read, or can be by others than the node's user and group."""
    unreadable = list(readable(path, place, places))
    yield from unreadable
    if not unreadable and stat.S_IMODE(path.stat().st_mode) & 0o037:
        yield places.fault(place, f"{path} can be read by other users", f"chmod 600 {path}")


def pair(certificate: Path, key: Path, section: str, places: KeyPlaces) -> Iterator[Fault]:
    """Find what is wrong with a certificate in PEM and its own key without password."""
    place = (section, "certificate")
    faults = [*readable(certificate, place, places), *private(key, (section, "key"), places)]
    yield from faults
    if faults:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, lambda: "")
    except (ssl.SSLError, ValueError):
        what = f"{certificate} and {key} are not a certificate and its own key in PEM"
        yield places.fault(place, what, "give a pair; the key without password")


def authorities(path: Path, place: tuple[str, str], places: KeyPlaces) -> Iterator[Fault]:
    """Find whether a file holds no certificate in PEM of who signs others."""
    unreadable = list(readable(path, place, places))
    yield from unreadable
    if unreadable:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except ssl.SSLError:
        what = f"{path} holds no certificate in PEM"
        yield places.fault(place, what, "give the CA's certificate")
