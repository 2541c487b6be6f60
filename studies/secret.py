"""Passwords in addresses: never written, never shown.

The parts are those of SQLAlchemy's URL type, in whose passwords "/" and spaces may stand; a test compares. The type
itself takes half a second to import, and `validate` answers in less.
"""

import re

# Whatever stands between the first ":" behind "://" and the last "@" before another address.
_USER = re.compile(r"(\w[\w+.-]*://[^:/@\s]*):(?:(?!\w://)[^\n])*@")
_VALUE = re.compile(r"([?&]([\w.-]+)=)([^&\s'\"]+)")  # in a sentence
_WHOLE_VALUE = re.compile(r"([?&]([^=&]+)=)([^&]*)")  # in an address alone
# Options that say nothing secret. Any other is taken for a secret: drivers have dozens of names for them.
_NAMES = (
    "application_name cache charset check_same_thread client_encoding connect_timeout driver gssencmode "
    "host isolation_level keepalives keepalives_idle mode options pool_size pool_timeout port "
    "prepare_threshold ssl sslcert sslcrl sslkey sslmode sslrootcert target_session_attrs "
    "tcp_user_timeout timeout uri user username "
)
_OPTIONS = frozenset(_NAMES.split())


def redacted(text: str) -> str:
    """The text with every password in an address replaced by ***, and every value of an option that may be one."""
    return _VALUE.sub(lambda found: _value(found, "***"), _USER.sub(r"\1:***@", text))


def without_password(uri: str) -> str:
    """The address with its passwords left out: what may be kept in a file."""
    return _WHOLE_VALUE.sub(lambda found: _value(found, ""), _USER.sub(r"\1@", uri))


def has_password(uri: str) -> bool:
    """Whether there is anything to hide."""
    return without_password(uri) != uri


def _value(found: "re.Match[str]", instead: str) -> str:
    return found[0] if found[2].lower() in _OPTIONS else found[1] + instead
