"""The merge operators that come with TinyDB (chapter 11)."""
import re

LONGEST_VALUE = 2**32 - 1
ESCAPED = {9: "\\t", 10: "\\n", 13: "\\r", 34: '\\"', 39: "\\'", 92: "\\\\"}

class CannotFold(Exception):
    """Nobody can say what a key has: its operator is not known, or refuses."""

def spelled(separator):
    """A separator as it stands in a name."""
    return "".join(ESCAPED.get(b) or (chr(b) if 32 <= b < 127 else f"\\x{b:02x}") for b in separator)

def separator_of(name):
    """The separator that a name of tinydb.append tells; None if the name is none, or is spelled otherwise."""
    match = re.fullmatch(r"tinydb\.append\((.*)\)", name, re.DOTALL)
    if match is None:
        return None
    known = {text[1]: byte for byte, text in ESCAPED.items()}
    parts = re.findall(r"\\x([0-9a-f]{2})|\\(.)|([^\\])", match[1], re.DOTALL)
    separator = bytes(int(code, 16) if code else known.get(sign, 0) if sign else min(ord(other), 255)
                      for code, sign, other in parts)
    return separator if spelled(separator) == match[1] else None

def merge(name, base, operands):
    """What an operator makes of a base, which may be None, and of operands, oldest first."""
    parts = operands if base is None else [base, *operands]
    if name == "tinydb.counter":
        if any(len(part) != 8 for part in parts):
            raise CannotFold("a counter has 8 bytes")
        return (sum(int.from_bytes(part, "little") for part in parts) % 2**64).to_bytes(8, "little")
    if name in ("tinydb.max", "tinydb.min"):
        return max(parts) if name == "tinydb.max" else min(parts)
    separator = separator_of(name)
    if separator is None:
        raise CannotFold(f"the merge operator {name!r} is not known" if name else "there is no merge operator")
    value = separator.join(parts)
    if len(value) > LONGEST_VALUE:
        raise CannotFold(f"a value of {len(value)} bytes")
    return value
