#!/usr/bin/env python3
"""Reads TinyDB databases in plain Python, first written from the chapters of `format-spec/` and nothing else.

    tinydb_reader.py get DIR KEY        the value of a key
    tinydb_reader.py scan DIR           every range tombstone and row, one JSON object a line
    tinydb_reader.py verify PATH...     checks the rules of files and directories
    tinydb_reader.py info PATH          what headers, footers and manifests say, as JSON

It is made to be read beside the spec: a class for each kind of file and part of a file, and each check names its rule.
The rules that need a whole table are in `tinydb_verify.py`. Files are read into memory whole. Nothing but the standard
library is needed; the package `xxhash` makes it faster.
"""
import argparse, bisect, heapq, itertools, json, os, struct, sys, time
from tinydb_merge import CannotFold, merge
from tinydb_structures import *

# ---- Tables (chapters 03 to 06 and 09) ----
class Table(File):
    def __init__(self, name, data):
        super().__init__(name, data)
        self.check("T1", len(data) % PAGE == 0 and len(data) >= 2 * PAGE, len(data))
        self.header = h = self.read_header(FILE_HEADER, b"TINYSST\x01", "T1", "T2", "T3")
        self.foot = foot = len(data) - PAGE
        self.footer = f = FOOTER.read(data, foot)
        self.check("T4", f.magic == b"TINYEND\x01", foot)
        self.check("T5", word(data, len(data) - 8) == xxh3(data[foot:-8], h.file_id), len(data) - 8)
        self.check("T6", f[1:5] == h[1:5] and f.file_id == h.file_id and f.file_len == len(data), foot)
        self.check("T7", f.region_count <= 64, foot + 20)
        self.check("T11", not any(h.reserved + h.reserved_tail), 20)
        self.check("T11", not any(f.reserved + data[foot + 80 + 32 * f.region_count:-8]), foot + 64)
        self.check("T12", f.min_seqno <= f.max_seqno and f.row_count >= 1, foot + 40)
        self.regions = self.read_directory()
        self.properties = self.read_properties(self.regions[PROPERTIES])
        self.index = Index(self, self.regions[INDEX])
        self.filter = Filter(self, self.regions[FILTER]) if FILTER in self.regions else None
        deleting = self.regions.get(RANGE_TOMBSTONES)
        self.tombstones = self.read_tombstones(deleting) if deleting else []
        counted = self.properties.range_tombstone_count == len(self.tombstones)
        self.check("T17", counted, self.regions[PROPERTIES].offset + 92)

    def read_directory(self):
        regions, free_from = {}, FILE_HEADER.size
        for i in range(self.footer.region_count):
            at = self.foot + FOOTER.size + i * REGION_ENTRY.size
            entry = REGION_ENTRY.read(self.data, at)
            self.check("T11", entry.flags & ~(CRITICAL | CHUNKED) == 0, at + 4)
            end = entry.offset + stored_len(entry)
            self.check("T8", entry.offset % PAGE == 0 and free_from <= entry.offset and end <= self.foot, at + 8)
            free_from = end
            self.check("T9", entry.kind not in regions, at)
            regions[entry.kind] = entry
            has_checksum = entry.kind in (PROPERTIES, RANGE_TOMBSTONES)
            if entry.kind in FLAGS:
                self.check("T23", entry.flags == FLAGS[entry.kind] and (has_checksum or entry.checksum == 0), at)
            seed = self.header.file_id ^ entry.offset
            self.check("T14", not has_checksum or entry.checksum == xxh3(self.region(entry), seed), at + 24)
        self.check("T10", {DATA, INDEX, PROPERTIES} <= regions.keys(), self.foot + FOOTER.size)
        for kind in (entry.kind for entry in regions.values() if entry.flags & CRITICAL and entry.kind not in FLAGS):
            raise Unsupported(f"{self.name}: critical region of kind {kind}")
        return regions

    def region(self, entry):
        return self.data[entry.offset:entry.offset + entry.len]

    def chunked_payload(self, entry):
        payload, sums_at = self.region(entry), entry.offset + round_up(entry.len, 8)
        for i in range(0, entry.len, PAGE):
            expected = xxh3(payload[i:i + PAGE], self.header.file_id ^ entry.offset + i)
            self.check("C1", word(self.data, sums_at + i // PAGE * 8) == expected, entry.offset + i)
        self.check("C2", not any(self.data[entry.offset + entry.len:sums_at]), entry.offset + entry.len)
        return payload

    def read_properties(self, entry):
        self.check("T13", entry.len >= PROPERTIES_HEADER.size, entry.offset)
        p, rest = PROPERTIES_HEADER.read(self.data, entry.offset), self.region(entry)[PROPERTIES_HEADER.size:]
        ends_len = p.smallest_len + p.largest_len
        self.check("T13", len(rest) == ends_len + p.operator_len, entry.offset)
        self.check("T11", not any(p.reserved), entry.offset + 100)
        self.smallest, self.largest = rest[:p.smallest_len], rest[p.smallest_len:ends_len]
        self.operator = rest[ends_len:]
        self.check("T25", is_text(self.operator), entry.offset + PROPERTIES_HEADER.size + ends_len)
        return p

    def read_tombstones(self, region):  # chapter 09
        data, found = self.region(region), []
        self.check("D1", len(data) >= TOMBSTONES_HEADER.size and data[:4] == b"TDBR", region.offset)
        h = TOMBSTONES_HEADER.read(data)
        self.check("D2", not any(h.reserved + h.reserved_tail), region.offset)
        keys_at = position = TOMBSTONES_HEADER.size + TOMBSTONE_ENTRY.size * h.count
        self.check("D3", h.count >= 1 and position <= len(data), region.offset + 8)
        for i in range(h.count):
            at = TOMBSTONES_HEADER.size + TOMBSTONE_ENTRY.size * i
            e, at = TOMBSTONE_ENTRY.read(data, at), region.offset + at
            self.check("D2", e.flags & ~1 == 0, at + 20)
            self.check("D4", e.keys_offset == position, at + 8)
            start, position = data[position:position + e.start_len], position + e.start_len
            end, position = data[position:position + e.end_len], position + e.end_len
            self.check("D4", position <= len(data), at + 16)
            self.check("D5", not end if e.flags & 1 else end > start, at)
            self.check("D6", not found or (found[-1].end is not None and found[-1].end <= start), at)
            self.check("D7", e.seqno >= 1, at)
            found.append(Tombstone(start, None if e.flags & 1 else end, e.seqno))
        self.check("D4", position == len(data) == keys_at + h.keys_len, region.offset + 16)
        return found

    def block(self, number):
        data = self.regions[DATA]
        at = data.offset + self.index.block_offset(number)
        return Block(self, at, data.offset + data.len, self.header.file_id, self.header.hash_seed)

    def value(self, reference, at):
        """A value that lies out of line; `at` is where its reference stands."""
        region, end = self.regions.get(VALUES), reference.offset + reference.len
        self.check("T18", region and end <= region.len, at)
        value, seed = self.region(region)[reference.offset:end], self.header.file_id ^ reference.offset
        self.check("T19", reference.checksum == xxh3(value, seed), region.offset + reference.offset)
        return value

    def rows(self):
        for block in map(self.block, range(self.index.header.block_count)):
            yield from block.rows()

    def versions(self, key):
        """All rows of a user key, newest first (chapter 03, "Point lookup")."""
        hashed = xxh3(key, self.header.hash_seed)
        if self.filter and not self.filter.lets_through(hashed):
            return
        number, may_begin_earlier = self.index.search(key)
        if may_begin_earlier and self.block(number - 1).goes_on:
            number -= 1
        for block in map(self.block, range(number, self.index.header.block_count)):
            yield from block.versions(key, hashed)
            if not block.goes_on:
                return

class Block:
    """Chapter 04. `file` has the bytes and finds the values out of line."""

    def __init__(self, file, at, region_end, file_id, hash_seed):
        self.file, self.check, self.at, self.hash_seed = file, file.check, at, hash_seed
        self.check("B1", at % 64 == 0 and at + BLOCK_HEADER.size <= region_end, at)
        self.h = h = BLOCK_HEADER.read(file.data, at)
        self.end, self.n, self.goes_on = at + h.block_len, h.row_count, bool(h.columns & 16)
        possible = h.block_len % 64 == 0 and 64 <= h.block_len <= LONGEST_BLOCK
        self.check("B2", possible and self.end <= region_end, at + 8)
        self.check("B3", h.checksum == xxh3(file.data[at + 8:self.end], file_id ^ at), at)
        self.check("B4", self.n >= 1, at + 12)
        self.check("B5", h.columns & 0xE0 == 0, at + 30)
        self.seqno_code, self.expiry_code = h.widths & 7, h.widths >> 3 & 7
        sizes = {0: 1, 1: 2, 2: 4, 3: 8, 7: 0}  # of a delta, by the width code
        for bit, code in (2, self.seqno_code), (8, self.expiry_code):
            self.check("B6", code in sizes if h.columns & bit else code == 0, at + 31)
        self.check("B6", h.widths < 64, at + 31)
        offsets_len, self.position = (4 if h.columns & 1 else 2) * (self.n + 1), at + BLOCK_HEADER.size
        self.fingerprints = self.column(round_up(self.n, 16))
        key_offsets = self.column(offsets_len if h.key_stride == NO_KEY_STRIDE else 0)
        value_offsets = self.column(offsets_len if h.value_stride == NO_VALUE_STRIDE else 0)
        self.prefix = self.column(h.prefix_len)
        seqnos = self.column(8 + sizes[self.seqno_code] * self.n if h.columns & 2 else 0)
        self.kinds = self.column(self.n if h.columns & 4 else 0) or bytes(self.n)
        expiries = self.column(8 + sizes[self.expiry_code] * self.n if h.columns & 8 else 0)
        self.key_heap, self.values_at = self.column(h.key_heap_len), self.position
        self.value_heap = self.column(h.value_heap_len)
        self.key_offsets = self.offsets(key_offsets, h.key_stride, h.key_heap_len, "B9")
        self.value_offsets = self.offsets(value_offsets, h.value_stride, h.value_heap_len, "B10")
        self.seqno_base, deltas = self.numbers(seqnos, self.seqno_code)
        self.seqnos = [self.seqno_base + delta for delta in deltas]
        self.expiry_base, deltas = self.numbers(expiries, self.expiry_code)
        self.expiries = [self.expiry_base + max(d - 1, 0) if d or self.expiry_code == 7 else 0 for d in deltas]

    def column(self, size):
        start, self.position = self.position, self.position + size
        self.check("B7", self.position <= self.end, start)
        return self.file.data[start:self.position]

    def numbers(self, column, code):
        """The base and the deltas of a column of numbers; an absent one is all zeros."""
        if not column or code == 7:
            return word(column, 0), (0,) * self.n
        return word(column, 0), struct.unpack(f"<{self.n}{'BHIQ'[code]}", column[8:])

    def offsets(self, column, stride, heap_len, rule):
        if not column:
            self.check("B8", self.n * stride == heap_len, self.at + 24)
            return [i * stride for i in range(self.n + 1)]
        offsets = struct.unpack(f"<{self.n + 1}{'I' if self.h.columns & 1 else 'H'}", column)
        self.check(rule, offsets[0] == 0 and offsets[-1] == heap_len and ascend(offsets), self.at)
        return offsets

    def row(self, i):
        key = self.prefix + self.key_heap[self.key_offsets[i]:self.key_offsets[i + 1]]
        value, value_at = self.value_heap[self.value_offsets[i]:self.value_offsets[i + 1]], self.values_at
        seqno, expiry, kind = self.seqnos[i], self.expiries[i], self.kinds[i] & 15
        self.check("B11", self.kinds[i] & ~16 in (PUT, DELETE, MERGE), self.at)
        self.check("B12", kind != DELETE or not (value or expiry), value_at)
        self.check("B17", expiry <= LATEST_EXPIRY, self.at)
        self.check("B18", seqno <= M64, self.at)
        self.check("B20", len(key) <= LONGEST_KEY, self.at)
        if self.kinds[i] & 16:
            self.check("B19", len(value) == VALUE_REF.size, value_at)
            value = self.file.value(VALUE_REF.read(value), value_at)
        return Row(key, seqno, kind, expiry, value)

    def rows(self):
        return [self.row(i) for i in range(self.n)]

    def versions(self, key, hashed):
        likely = (self.row(i) for i in range(self.n) if self.fingerprints[i] == hashed >> 32 & 0xFF)
        return (row for row in likely if row.key == key)

class Index:  # chapter 05
    def __init__(self, table, region):
        data, at, check = table.chunked_payload(region), region.offset, table.check
        check("I1", len(data) >= INDEX_HEADER.size and data[:4] == b"TDIX", at)
        self.at, self.header = at, INDEX_HEADER.read(data)
        h, n = self.header, self.header.block_count
        self.uniform, self.may_span, self.ties = (bool(h.flags & bit) for bit in (1, 2, 4))
        check("I2", h.flags & ~7 == 0 and not any(h.reserved_tail), at + 12)
        check("I3", n >= 1, at + 4)
        self.level_lens = [n]
        while self.level_lens[0] > 16:
            self.level_lens.insert(0, -(-self.level_lens[0] // 16))
        check("I4", h.level_count == len(self.level_lens), at + 13)
        check("I6", h.head_offset <= h.prefix_len, at + 10)
        check("I6", h.tie_offset >= h.prefix_len if self.ties else h.tie_offset == 0, at + 14)
        check("I8", h.block_size in [2**i for i in range(10, 17)] if self.uniform else h.block_size == 0, at + 16)
        trees, upper = 1 + self.ties, sum(round_up(entries, 16) for entries in self.level_lens[:-1])
        words = trees * (upper + round_up(n, 16))
        prefix_end = INDEX_HEADER.size + h.prefix_len
        words_at = round_up(prefix_end, 128)
        numbers_at = words_at + 8 * words
        separators_at = numbers_at + 4 * (n + 1) * (1 if self.uniform else 2)
        check("I5", separators_at + h.separators_len == len(data), at + 20)
        self.prefix = data[INDEX_HEADER.size:prefix_end]
        check("I10", not any(data[prefix_end:words_at]), at + prefix_end)
        self.words = struct.unpack_from(f"<{words}Q", data, words_at)
        self.heads = self.words[trees * upper:trees * upper + n]
        numbers = struct.unpack_from(f"<{(separators_at - numbers_at) // 4}I", data, numbers_at)
        self.block_offsets, offsets = numbers[:-n - 1], numbers[-n - 1:]
        check("I7", offsets[0] == 0 and offsets[-1] == h.separators_len and ascend(offsets), at + separators_at)
        self.separators = [data[separators_at + a:separators_at + b] for a, b in zip(offsets, offsets[1:])]

    def block_offset(self, number):
        return number * self.header.block_size if self.uniform else 64 * self.block_offsets[number]

    def search(self, key):
        """The block that holds a key if any does, and whether the key may begin in the block before."""
        if not key.startswith(self.prefix):
            return (0 if key < self.prefix else self.header.block_count - 1), False
        head = head_of(key, self.header.head_offset)
        block = bisect.bisect_right(self.heads, head) - 1
        if block < 0 or self.heads[block] != head:
            return max(block, 0), False
        rest, first = key[len(self.prefix):], bisect.bisect_left(self.heads, head)
        found = bisect.bisect_left(self.separators, rest, first, block + 1)
        if found <= block and self.separators[found] == rest:
            return found, self.may_span and found > 0
        return max(found - 1, 0), False

class Filter:  # chapter 06
    SALT = 0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31

    def __init__(self, table, region):
        self.at, self.data = region.offset, table.chunked_payload(region)
        table.check("X1", len(self.data) >= FILTER_HEADER.size and self.data[:4] == b"TDBF", self.at)
        self.header = h = FILTER_HEADER.read(self.data)
        table.check("X2", h.algorithm == 1, self.at + 4)
        table.check("X3", h.block_count >= 1 and len(self.data) == FILTER_HEADER.size + 32 * h.block_count, self.at + 8)
        table.check("X4", not any(h.reserved + h.reserved_tail), self.at + 12)

    def place(self, hashed):
        return (hashed >> 32) * self.header.block_count >> 32, [(hashed * s & 0xFFFFFFFF) >> 27 for s in self.SALT]

    def lets_through(self, hashed):
        block, bits = self.place(hashed)
        words = struct.unpack_from("<8I", self.data, FILTER_HEADER.size + 32 * block)
        return all(w >> bit & 1 for w, bit in zip(words, bits))

# ---- Logs (chapter 07) ----
class Log(File):
    """A log as far as it is whole; `end` tells how it ends. Number and identity are None where nobody knows them."""

    def __init__(self, name, data, number=None, database_id=None):
        super().__init__(name, data)
        self.header, self.operator, self.seed_of = None, b"", (database_id, number)
        self.batches, self.synced_upto, self.next_seqno = [], 0, 0  # a batch: offset, header, operations
        self.vouched = False  # whether a checksum vouches for what is read: then a broken rule is no crash's work
        at = 0
        try:
            at = self.read_start()
            self.next_seqno, content_end = self.header.first_seqno, len(data.rstrip(b"\0"))
            while at < content_end:
                header, operations, end = self.read_record(at, log_seed(*self.seed_of))
                self.synced_upto = max(self.synced_upto, header.synced_upto)
                self.next_seqno = header.first_seqno + header.op_count
                if header.kind == SEAL:
                    self.end = End("sealed", at, None, self.synced_upto)
                    return
                self.batches.append((at, header, operations))
                at = end
            self.end = End("clean", at, None, self.synced_upto)
        except Broken as broken:
            if broken.rule == "L7":
                raise
            self.end = self.bad_end(at, broken.rule)

    def read_start(self):  # header and operator; where the records start
        h = self.read_header(LOG_HEADER, b"TINYLOG\x01", "L1", "L2", "L3")
        self.vouched = True
        self.check("L5", not any(h.reserved), 72)
        self.vouched, start = False, LOG_HEADER.size
        name_end, end = start + h.operator_len, start + round_up(h.operator_len, 8)
        self.check("L1", end <= len(self.data), 20)
        self.check("L4", h.operator_checksum == xxh3(self.data[start:end], 0), 112)
        self.vouched = True
        self.check("L5", not any(self.data[name_end:end]), name_end)
        self.check("L6", is_text(self.data[start:name_end]), start)
        self.check("L7", self.seed_of[1] in (None, h.log_number), 24)
        self.check("L7", self.seed_of[0] in (None, h.database_id), 32)
        self.header, self.operator, self.seed_of = h, self.data[start:name_end], (h.database_id, h.log_number)
        return end

    def read_record(self, at, seed):
        self.vouched, body = False, at + RECORD_HEADER.size
        self.check("L8", body <= len(self.data), at)
        self.check("L14", any(self.data[at:body]), at)
        h = RECORD_HEADER.read(self.data, at)
        self.check("L9", h.header_checksum == xxh3(self.data[at + 8:body], seed ^ at), at)
        self.vouched = True
        self.check("L11", is_possible(h), at + 40)
        self.check("L5", not any(h.reserved), at + 45)
        self.check("L12", self.next_seqno <= h.first_seqno <= M64 - h.op_count, at + 24)
        self.check("L13", h.synced_upto <= at, at + 32)
        self.vouched, end = False, body + round_up(h.payload_len, 8)
        self.check("L8", end <= len(self.data), at + 16)
        payload = self.data[body:body + h.payload_len]
        self.check("L10", h.kind == SEAL or h.payload_checksum == xxh3(payload, seed ^ at), body)
        self.check("L5", not any(self.data[body + h.payload_len:end]), body + h.payload_len)
        self.vouched = True
        return h, self.read_operations(h, payload, body), end

    def read_operations(self, h, payload, body):  # the rows and range tombstones of a record
        position, found = 0, []
        for seqno in range(h.first_seqno, h.first_seqno + h.op_count):
            here, fixed = body + position, OP_HEADER.size + (8 if payload[position:position + 1] >= b"\x80" else 0)
            self.check("O1", position + fixed <= len(payload), here)
            op = OP_HEADER.read(payload, position)
            kind, endless, expires = op.tag & 15, bool(op.tag & 16), bool(op.tag & 128)
            self.check("O2", kind <= RANGE_DELETE and not op.tag & 0x60 and (kind == RANGE_DELETE or not endless), here)
            self.check("O3", op.tree_id == 0, here + 1)
            expiry = word(payload, position + OP_HEADER.size) if expires else 0
            self.check("O4", not expires or (1 <= expiry <= LATEST_EXPIRY and kind in (PUT, MERGE)), here + 11)
            self.check("O5", kind != DELETE or op.value_len == 0, here + 7)
            position += fixed
            self.check("O6", position + op.key_len + op.value_len <= len(payload), here + 5)
            key, position = payload[position:position + op.key_len], position + op.key_len
            value, position = payload[position:position + op.value_len], position + op.value_len
            if kind == RANGE_DELETE:
                self.check("O8", not (endless and value), here + 7)
                self.check("O9", endless or (value > key and len(value) <= 0xFFFF), here + 7)
                found.append(Tombstone(key, None if endless else value, seqno))
            else:
                found.append(Row(key, seqno, kind, expiry, value))
        self.check("O7", position == len(payload), body + position)
        return found

    def bad_end(self, bad, rule):
        """Damaged if a checksum vouches for what is broken, or a record header behind proves that it was durable."""
        if self.vouched or None in self.seed_of:
            return End("damaged" if self.vouched else "torn", bad, rule, self.synced_upto)
        seed = log_seed(*self.seed_of)
        for at in range(round_up(bad, 8), len(self.data) - RECORD_HEADER.size + 1, 8):
            h = RECORD_HEADER.read(self.data, at)
            if not bad < h.synced_upto <= at:
                continue  # proves nothing: no need for its checksum
            verifies = h.header_checksum == xxh3(self.data[at + 8:at + RECORD_HEADER.size], seed ^ at)
            if verifies and is_possible(h) and not any(h.reserved):
                self.synced_upto = max(self.synced_upto, h.synced_upto)
                return End("damaged", bad, rule, h.synced_upto)
        return End("torn", bad, rule, self.synced_upto)

# ---- Manifests (chapter 08) ----
class Manifest(File):
    def __init__(self, name, data, number=None):
        super().__init__(name, data)
        self.header = h = self.read_header(MANIFEST_HEADER, b"TINYMAN\x01", "M1", "M2", "M3")
        self.check("M4", not any(h.reserved), 88)
        self.check("M5", h.file_len == len(data), 32)
        self.check("M6", h.body_checksum == xxh3(data[MANIFEST_HEADER.size:], 0), 112)
        self.check("M14", number in (None, h.manifest_number), 40)
        self.check("M10", h.tree_count == 1, 28)
        operator_at = MANIFEST_HEADER.size + TABLE_ROW.size * h.table_count
        position = operator_at + h.operator_len
        self.check("M7", position <= len(data), 20)
        self.operator, self.tables = data[operator_at:position], []  # tables: (row, smallest key, largest key)
        self.check("M8", is_text(self.operator), operator_at)
        for at in range(MANIFEST_HEADER.size, operator_at, TABLE_ROW.size):
            row = TABLE_ROW.read(data, at)
            self.check("M4", not any(row.reserved), at + 92)
            self.check("M9", row.keys_offset == position, at + 64)
            smallest, position = data[position:position + row.smallest_len], position + row.smallest_len
            largest, position = data[position:position + row.largest_len], position + row.largest_len
            self.check("M9", position <= len(data), at + 72)
            self.check("M10", row.tree_id == 0 and row.level < 64, at)
            self.check("M11", row.row_count >= 1 and smallest <= largest and row.file_number < h.next_file_number
                       and row.min_seqno <= row.max_seqno <= h.last_seqno, at)
            if self.tables:
                above, _, largest_above = self.tables[-1]
                newer = (above.max_seqno, above.file_number) > (row.max_seqno, row.file_number)
                in_order = newer if row.level == 0 else largest_above < smallest
                self.check("M12", above.level < row.level or (above.level == row.level and in_order), at)
            self.tables.append((row, smallest, largest))
        self.check("M9", position == len(data), position)
        self.check("M13", len({row.file_number for row, _, _ in self.tables}) == len(self.tables), MANIFEST_HEADER.size)

# ---- Databases (chapters 01, 02 and 07) ----
class Database:
    """The tables of the newest manifest, and the logs that it needs. `notes` says what was left out, and why."""

    def __init__(self, path):
        self.name, self.notes, self.foreign, self.logs, self.tables = path, [], [], [], []
        numbers = {kind: [] for kind in ("LOG", "MANIFEST", "TABLE", "TMP")}
        for name in sorted(os.listdir(path)):
            match = FILE_NAME.fullmatch(name)
            if match and int(match[2]) <= M64:
                numbers[match[1]].append(int(match[2]))
            elif name != "LOCK":
                self.foreign.append(name)
        if not numbers["MANIFEST"]:
            raise Broken(path, "F1", 0) if numbers["LOG"] + numbers["TABLE"] else Unsupported(f"{path}: no database")
        newest = max(numbers["MANIFEST"])
        self.manifest = Manifest(*self.load("MANIFEST", newest), newest)
        for row, _, _ in self.manifest.tables:
            table = Table(*self.load("TABLE", row.file_number))
            table.check("T6", (len(table.data), table.header.file_id) == (row.file_len, row.file_id), 0)
            table.check("M15", len(table.tombstones) == row.range_tombstone_count, 0)
            self.tables.append(table)
        self.read_logs(sorted(n for n in numbers["LOG"] if n >= self.manifest.header.oldest_log))

    def load(self, kind, number):
        name = f"{kind}-{number:06}"
        with open(os.path.join(self.name, name), "rb") as file:
            return name, file.read()

    def read_logs(self, numbers):  # chapter 10, "Replaying the logs"
        h, next_seqno, whole = self.manifest.header, self.manifest.header.last_seqno + 1, None
        self.operator = self.manifest.operator  # or what the last log says that names one
        logs = [Log(*self.load("LOG", number), number, h.database_id) for number in numbers]
        unfinished = [bool(log.header) and log.header.previous_log == 0 for log in logs]
        for i, log in enumerate(logs):
            if unfinished[i] and i > 0:
                self.notes.append(f"{log.name}: ignored, it comes from a recovery that did not finish")
                continue
            previous, missing = log.header.previous_log if log.header else 0, None
            log.check("F2", not log.header or log.header.manifest_number <= h.manifest_number, 48)
            if previous and previous >= h.oldest_log and (i == 0 or numbers[i - 1] != previous):
                missing, log.batches = Broken(log.name, "F3", 56), []
            elif log.operator and not self.manifest.operator:
                self.operator = log.operator
            for count, (at, header, _) in enumerate(log.batches):
                if header.first_seqno > next_seqno:
                    missing, log.batches = Broken(log.name, "F4", at + 24), log.batches[:count]
                    break
                log.check("F4", header.first_seqno == next_seqno, at + 24)
                next_seqno += header.op_count
            self.logs.append(log)
            later = range(i if missing else i + 1, len(logs))
            proven = any(logs[j].synced_upto and not unfinished[j] for j in later)
            if not missing and log.end.state in ("clean", "sealed"):
                whole = log
                continue
            if missing and proven and whole:
                whole.check("L15", whole.end.state == "sealed", whole.end.at)
            reason = missing or Broken(log.name, log.end.rule, log.end.at)
            if proven or (not missing and log.end.state == "damaged"):
                raise reason
            self.notes.append(f"torn: {reason}")
            self.notes += [f"{left.name}: left out" for left in logs[i + 1:]]
            return

    def operations(self, kind):
        """The rows, or the range tombstones, of each log, with its name."""
        for log in self.logs:
            yield log.name, [op for *_, ops in log.batches for op in ops if isinstance(op, kind)]

    def rows(self):
        """All versions of all keys as (row, name of its file), in the order of their internal keys."""
        def order(found):
            return found[0].key, -found[0].seqno

        runs = [sorted(zip(rows, itertools.repeat(name)), key=order) for name, rows in self.operations(Row)]
        runs += [zip(table.rows(), itertools.repeat(table.name)) for table in self.tables]
        return heapq.merge(*runs, key=order)

    def tombstones(self):
        found = [*self.operations(Tombstone), *((table.name, table.tombstones) for table in self.tables)]
        return [(tombstone, name) for name, tombstones in found for tombstone in tombstones]

    def versions(self, key):
        found = [row for table in self.tables for row in table.versions(key)]
        found += [row for _, rows in self.operations(Row) for row in rows if row.key == key]
        return sorted(found, key=lambda row: -row.seqno)

    def cover(self, snapshot):
        """A function that gives the newest range tombstone over a key that the snapshot sees, or 0."""
        seen = [tombstone for tombstone, _ in self.tombstones() if tombstone.seqno <= snapshot]
        edges = sorted({edge for t in seen for edge in (t.start, t.end) if edge is not None})
        newest = [0] * len(edges)
        for t in seen:
            end = len(edges) if t.end is None else bisect.bisect_left(edges, t.end)
            for i in range(bisect.bisect_left(edges, t.start), end):
                newest[i] = max(newest[i], t.seqno)
        return lambda key: ([0] + newest)[bisect.bisect_right(edges, key)]

    def seen(self, key, versions, covered, options):
        """What a reader sees of a key (chapter 10), as `scan --visible` shows it; None if it is absent."""
        operands, base, found = [], None, {"key": hexed(key)}
        for row in versions:
            if row.seqno > options.snapshot:
                continue
            if row.seqno >= covered and row.kind == MERGE:
                operands.insert(0, row.value)
                continue
            if row.seqno >= covered and row.kind == PUT and (row.expiry == 0 or options.now < row.expiry):
                base = row.value
            break
        if not operands:
            return None if base is None else {**found, "value": base.hex()}
        found.update(base=hexed(base), operands=list(map(hexed, operands)))
        try:
            return {**found, "value": merge(self.operator.decode(), base, operands).hex()}
        except CannotFold as error:
            return {**found, "value": None, "error": str(error)}

# ---- The command line ----
def open_path(path):
    if os.path.isdir(path):
        return Database(path)
    with open(path, "rb") as file:
        name, data = os.path.basename(path), file.read()
    match = FILE_NAME.fullmatch(name)
    kind, number = (match[1], int(match[2])) if match else (data[:7], None)
    if kind in ("TABLE", b"TINYSST"):
        return Table(name, data)
    if kind in ("MANIFEST", b"TINYMAN"):
        return Manifest(name, data, number)
    if kind in ("LOG", b"TINYLOG"):
        return Log(name, data, number)
    raise Unsupported(f"{name}: neither its name nor its first bytes are those of a file of TinyDB")

def scan(db, options):
    """Every range tombstone and every row; with --visible, what a reader sees of each key."""
    if not options.visible:
        for t, name in db.tombstones():
            yield {"start": hexed(t.start), "end": hexed(t.end), "seqno": t.seqno, "file": name}
        for row, name in db.rows():
            yield {"key": hexed(row.key), "seqno": row.seqno, "kind": KINDS[row.kind], "expiry": row.expiry,
                   "value": hexed(row.value), "file": name}
        return
    cover, rows = db.cover(options.snapshot), (row for row, _ in db.rows())
    versions = itertools.groupby(rows, lambda row: row.key)
    yield from filter(None, (db.seen(key, rows, cover(key), options) for key, rows in versions))

def get(db, key, options):
    found = db.seen(key, db.versions(key), db.cover(options.snapshot)(key), options)
    if not found:
        return "absent"
    if found["value"] is None:
        return f"can't be read: {found['error']}; base {found['base']}, operands {found['operands']}"
    sys.stdout.buffer.write(found["value"].encode() if options.hex else bytes.fromhex(found["value"]))

def run(command, paths, options):
    """Does what is asked; returns what is wrong, if anything is."""
    if command == "verify":
        from tinydb_verify import verify_all
        return verify_all(paths, open_path)
    if command == "get":
        return get(Database(paths[0]), bytes.fromhex(paths[1]) if options.hex else os.fsencode(paths[1]), options)
    for opened in map(open_path, paths):
        if command == "info":
            print(json.dumps(info(opened), indent=1))
            continue
        sys.stderr.writelines(note + "\n" for note in opened.notes)
        for line in scan(opened, options):
            print(json.dumps(line))

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("get", "scan", "verify", "info"))
    parser.add_argument("paths", nargs="+", help="files or directories; for get, a directory and a key")
    parser.add_argument("--hex", action="store_true", help="get: key and value are in hexadecimal")
    parser.add_argument("--visible", action="store_true", help="scan: only what a reader sees of each key")
    parser.add_argument("--snapshot", type=int, default=M64, help="the newest seqno that is seen")
    parser.add_argument("--now", type=int, default=int(time.time()), help="seconds since 1970, for expiry")
    try:
        options = parser.parse_args()
        sys.exit(run(options.command, options.paths, options))
    except (Broken, Unsupported, OSError) as error:
        sys.exit(f"error: {error}")
