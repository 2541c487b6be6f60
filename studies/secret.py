"""Passwords in addresses: never written, never shown."""

import re

_USER = re.compile(r"(\w[\w+.-]*://[^:/@\s]*):[^/\s]*@")
_QUERY = re.compile(r"([?&](?:password|passwd|pwd|token|secret)=)[^&\s'\"]+", re.IGNORECASE)


def redacted(text: str) -> str:
    """The text with every password in an address replaced by ***."""
    return _QUERY.sub(r"\1***", _USER.sub(r"\1:***@", text))


def without_password(uri: str) -> str:
    """The address with its password left out: what may be kept in a file."""
    return _QUERY.sub(r"\1", _USER.sub(r"\1@", uri))


def has_password(uri: str) -> bool:
    """Whether there is anything to hide."""
    return without_password(uri) != uri
