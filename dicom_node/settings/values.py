"""What single values may be: AE titles, hosts, networks, time zones; each fault says what to do."""

from __future__ import annotations

import difflib
import ipaddress
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from dicom_node.moments import zone_of, zones_for_people


def _ae_title(value: str) -> str:
    """Check an AE title as PS3.5 section 6.2 has it: up to 16 characters, outer spaces void."""
    title = value.strip(" ")
    if not title:
        raise ValueError("an AE title needs at least one character that is not a space")
    if len(title) > 16:
        raise ValueError(f"an AE title has at most 16 characters, this one {len(title)}")
    if any(not 0x20 <= ord(character) <= 0x7E or character == "\\" for character in title):
        raise ValueError("an AE title holds printable ASCII without backslash")
    return title


def is_ae_title(text: str) -> bool:
    """Whether a text is an AE title as the AE table takes it."""
    try:
        return bool(_ae_title(text))
    except ValueError:
        return False


def _network(value: str) -> str:
    return str(ipaddress.ip_network(value, strict=False))


def _timezone(value: str) -> str:
    try:
        zone_of(value)
    except ValueError as error:
        known = zones_for_people()
        words = value.strip().lower().replace(" ", "_")
        # A near name of a text with digits ("UTC+1") may well be the wrong way round,
        # and the nearest of "CEST" is "EST", on the other side of an ocean.
        told_apart = any(map(str.isdigit, value)) or (value.isupper() and words not in known)
        near = [] if told_apart else difflib.get_close_matches(words, known, n=1)
        remedy = f"did you mean {known[near[0]]!r}?" if near else _ZONE_REMEDY
        raise _wrong(str(error), remedy) from error
    return value


_ZONE_REMEDY = 'write a name of the IANA database, such as "Europe/Berlin"; empty: the system\'s'


def _host(value: str) -> str:
    """Return a host name or address; an IPv6 address loses the brackets that a port asks for."""
    text = value.strip()
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if not bare or is_address(bare):
        return bare
    host, _, port = text.rpartition(":")
    if host and port.isdecimal():
        name = host.rpartition("/")[2].strip("[]")
        raise _wrong(f"{value!r} is a host with a port", f'meant is host "{name}", port {port}')
    if not _HOST_NAME.fullmatch(text) or _ONLY_NUMBERS.fullmatch(text):
        raise _wrong(f"{value!r} is no host name and no address", _HOST_REMEDY)
    return text


def is_address(text: str) -> bool:
    """Whether ``text`` is an IP address, of version 4 or 6."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _wrong(what: str, remedy: str) -> PydanticCustomError:
    """Return a fault at the key itself that names what to do."""
    return PydanticCustomError("fault", "{what}", {"what": what, "remedy": remedy})


_HOST_NAME = re.compile(r"[\w-]+(\.[\w-]+)*\.?")
_ONLY_NUMBERS = re.compile(r"[\d.]+")
_HOST_REMEDY = "write a name or an address alone, such as pacs.hospital.example, 10.0.0.5 or ::1"


_MAIL_ADDRESS = re.compile(r"[^\s@<>,;:\\\"()\[\]]+@[\w-]+(\.[\w-]+)*")


def _mail_address(value: str) -> str:
    text = value.strip()
    if not _MAIL_ADDRESS.fullmatch(text):
        raise _wrong(f"{value!r} is no e-mail address", "write one, such as pacs@hospital.example")
    return text


def mail_address_or_nothing(value: str) -> str:
    """Return an e-mail address, or "" as it is. Raises where it is neither."""
    return _mail_address(value) if value else ""


def host_and_port(host: str | None, port: int | None) -> str:
    """Return where something listens as one text: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if host and ":" in host else f"{host}:{port}"


AETitle = Annotated[str, AfterValidator(_ae_title)]
Host = Annotated[str, AfterValidator(_host)]
MailAddress = Annotated[str, AfterValidator(_mail_address)]
TimeZone = Annotated[str, AfterValidator(_timezone)]
Network = Annotated[str, AfterValidator(_network)]


def _fingerprint(text: str) -> str:
    """Return a SHA-256 digest in small letters; colons, as OpenSSL writes them, are left out."""
    digits = text.replace(":", "").lower()
    if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
        raise ValueError(
            f"{text!r} is no SHA-256 fingerprint: 64 hexadecimal digits, as"
            " `openssl x509 -noout -fingerprint -sha256 -in FILE.pem` prints them"
        )
    return digits


Fingerprint = Annotated[str, AfterValidator(_fingerprint)]


def _absent_if_empty(value: object) -> object:
    return None if value == "" else value


OtherPath = Annotated[Path | None, BeforeValidator(_absent_if_empty)]
Port = Annotated[int, Field(ge=1, le=65535)]
