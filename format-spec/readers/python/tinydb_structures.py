"""What the files of TinyDB are made of: the structures of the chapters, errors, and what every file starts with."""
import re, struct
from collections import namedtuple
try:
    from xxhash import xxh3_64_intdigest as xxh3
except ImportError:
    from xxh3 import xxh3

PAGE, M64, NO_KEY_STRIDE, NO_VALUE_STRIDE = 4096, 2**64 - 1, 0xFFFF, 0xFFFFFFFF
PUT, DELETE, MERGE, RANGE_DELETE = 0, 1, 2, 3
BATCH, SEAL = 1, 2
KINDS, LATEST_EXPIRY, LONGEST_BLOCK, LONGEST_KEY = ("put", "delete", "merge"), 2**48, 16 << 20, 0xFFFF
FILE_NAME = re.compile(r"(LOG|MANIFEST|TABLE|TMP)-(\d{6}|[1-9]\d{6,})", re.ASCII)
DATA, VALUES, FILTER, INDEX, PROPERTIES, RANGE_TOMBSTONES = 1, 2, 3, 4, 5, 6
CRITICAL, CHUNKED = 1, 2
FLAGS = {DATA: 0, VALUES: 0, FILTER: CHUNKED, INDEX: CHUNKED, PROPERTIES: 0, RANGE_TOMBSTONES: CRITICAL}
Row = namedtuple("Row", "key seqno kind expiry value")
Tombstone = namedtuple("Tombstone", "start end seqno")  # end is None where the range has none
End = namedtuple("End", "state at rule proven_upto")  # how a log ends (chapter 07)

class Broken(Exception):
    """A file breaks a numbered rule of the spec."""

    def __init__(self, name, rule, offset):
        super().__init__(f"{name}: rule {rule} is broken at offset {offset}")
        self.name, self.rule, self.offset = name, rule, offset

class Unsupported(Exception):
    """A file is of a version, or uses a feature, that this reader does not know."""

# ---- Structures: the tables of the chapters, as text ----

class Layout:
    def __init__(self, text):
        names, codes = zip(*(field.split(":") for field in text.split()))
        self.struct, self.record = struct.Struct("<" + "".join(codes)), namedtuple("Record", names)
        self.size = self.struct.size

    def read(self, data, at=0):
        return self.record._make(self.struct.unpack_from(data, at))

PREAMBLE = "magic:8s format_major:H format_minor:H features_required:I features_optional:I "
FILE_HEADER = Layout(PREAMBLE + "reserved:4s file_id:Q hash_seed:Q reserved_tail:16s checksum:Q")
FOOTER = Layout(PREAMBLE + "region_count:I file_id:Q file_len:Q row_count:Q min_seqno:Q max_seqno:Q reserved:16s")
REGION_ENTRY = Layout("kind:I flags:I offset:Q len:Q checksum:Q")
VALUE_REF = Layout("offset:Q len:I index:I checksum:Q")
PROPERTIES_HEADER = Layout(
    "database_id:Q file_number:Q key_count:Q delete_count:Q merge_count:Q expiring_count:Q reference_count:Q "
    "key_bytes:Q value_bytes:Q min_expiry:Q block_count:I operator_len:I smallest_len:H largest_len:H "
    "range_tombstone_count:Q reserved:28s")
BLOCK_HEADER = Layout(
    "checksum:Q block_len:I row_count:H prefix_len:H key_heap_len:I value_heap_len:I value_stride:I key_stride:H "
    "columns:B widths:B")
INDEX_HEADER = Layout(
    "magic:4s block_count:I prefix_len:H head_offset:H flags:B level_count:B tie_offset:H block_size:I "
    "separators_len:I reserved_tail:40s")
FILTER_HEADER = Layout("magic:4s algorithm:I block_count:I reserved:4s key_count:Q reserved_tail:40s")
TOMBSTONES_HEADER = Layout("magic:4s reserved:4s count:Q keys_len:Q reserved_tail:8s")
TOMBSTONE_ENTRY = Layout("seqno:Q keys_offset:Q start_len:H end_len:H flags:I")
LOG_HEADER = Layout(
    PREAMBLE + "operator_len:I log_number:Q database_id:Q hash_seed:Q manifest_number:Q previous_log:Q first_seqno:Q "
    "reserved:40s operator_checksum:Q checksum:Q")
RECORD_HEADER = Layout(
    "header_checksum:Q payload_checksum:Q payload_len:Q first_seqno:Q synced_upto:Q op_count:I kind:B reserved:3s")
OP_HEADER = Layout("tag:B tree_id:I key_len:H value_len:I")
MANIFEST_HEADER = Layout(
    PREAMBLE + "table_count:I operator_len:I tree_count:I file_len:Q manifest_number:Q database_id:Q hash_seed:Q "
    "next_file_number:Q last_seqno:Q oldest_log:Q reserved:24s body_checksum:Q checksum:Q")
TABLE_ROW = Layout(
    "tree_id:I level:I file_number:Q file_id:Q file_len:Q checksum:Q row_count:Q min_seqno:Q max_seqno:Q "
    "keys_offset:Q smallest_len:H largest_len:H range_tombstone_count:Q cleared_seqno:Q reserved:4s")

def round_up(n, m):
    return -(-n // m) * m

def stored_len(region):
    """What a region takes of the file: a chunked one has checksums behind its payload."""
    return round_up(region.len, 8) + 8 * -(-region.len // PAGE) if region.flags & CHUNKED else region.len

def word(data, at):
    return int.from_bytes(data[at:at + 8], "little")

def ascend(numbers):
    return all(map(int.__le__, numbers, numbers[1:]))

def head_of(key, offset):
    """Eight bytes of a key as a number (chapter 05)."""
    return int.from_bytes(key[offset:offset + 8].ljust(8, b"\0"), "big")

def hexed(data):
    return None if data is None else data.hex()

def log_seed(database_id, number):
    return xxh3(struct.pack("<QQ", database_id, number), 0)

def is_possible(record):
    """Whether kind and counts of a record header go together (rule L11)."""
    if record.kind == BATCH:
        return record.op_count >= 1
    return record.kind == SEAL and record.op_count == 0 and record.payload_len == 0

SHOWN = "header footer properties regions end manifest tables logs notes foreign".split()

def info(part):
    """What was read, as JSON takes it: everything but bytes."""
    if hasattr(part, "__dict__"):
        part = {name: value for name, value in vars(part).items() if name in SHOWN}
    elif hasattr(part, "_asdict"):
        part = part._asdict()
    if isinstance(part, dict):
        return {name: info(value) for name, value in part.items() if not isinstance(value, bytes)}
    return [info(x) for x in part if not isinstance(x, bytes)] if isinstance(part, (list, tuple)) else part

def is_text(data):
    return data.decode("utf-8", "ignore").encode() == data

class File:
    """What all files have: a name, bytes, and a header that starts with the preamble (chapter 01)."""

    def __init__(self, name, data):
        self.name, self.data = name, data

    def check(self, rule, holds, offset):
        if not holds:
            raise Broken(self.name, rule, offset)

    def read_header(self, layout, magic, length_rule, magic_rule, checksum_rule):
        self.check(length_rule, len(self.data) >= layout.size, 0)
        self.check(magic_rule, self.data[:8] == magic, 0)
        header, end = layout.read(self.data), layout.size - 8
        self.check(checksum_rule, header.checksum == xxh3(self.data[:end], 0), end)
        if header.format_major != 1:
            raise Unsupported(f"{self.name}: format version {header.format_major}")
        if header.features_required:
            lowest = (header.features_required & -header.features_required).bit_length() - 1
            raise Unsupported(f"{self.name}: required feature {lowest}")
        return header
