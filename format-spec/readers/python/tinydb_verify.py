"""The rules that need a whole table or a whole database: what `tinydb_reader.py verify` checks beyond opening it."""
import itertools, os
from tinydb_structures import *

def verify_all(paths, open_path):
    """Prints a line for each file or directory, and says how many are broken, if one is."""
    broken = 0
    for path in paths:
        try:
            print(f"{path}: {verify(open_path(path))}")
        except (Broken, Unsupported, OSError) as error:
            broken += 1
            print(f"{path}: BROKEN: {error}")
    return f"{broken} of {len(paths)} are broken" if broken else None

def verify(opened):
    """Checks what was opened, and returns a sentence about it."""
    if hasattr(opened, "manifest"):
        for (row, _, _), table in zip(opened.manifest.tables, opened.tables):
            table.check("M11", row.checksum == xxh3(table.data, row.file_id), 0)
            verify_table(table)
        return "; ".join(["all rules hold", *opened.notes])
    if hasattr(opened, "index"):
        verify_table(opened)
    if hasattr(opened, "end"):
        opened.check(opened.end.rule, opened.end.state != "damaged", opened.end.at)
        if opened.end.state == "torn":
            return f"torn at {opened.end.at}, rule {opened.end.rule}; all rules hold before"
        return f"all rules hold; the log is {opened.end.state}"
    return "all rules hold"

def shared(a, b):
    """How many first bytes two keys share."""
    return len(os.path.commonprefix([a, b]))

# ---- A table (chapter 03) ----

def verify_table(table):
    check, data, header = table.check, table.regions[DATA], table.index.header
    blocks, position, last = [], data.offset, header.block_count - 1
    properties_at = table.regions[PROPERTIES].offset
    for number in range(header.block_count):
        block = table.block(number)
        if table.index.uniform:
            position = max(PAGE, header.block_size) + number * header.block_size
            slot_end = block.end if number == last else position + header.block_size
            check("T15", block.end <= slot_end, block.at)
            check("T20", not any(table.data[block.end:slot_end]), block.end)
        check("T15", block.at == position, block.at)
        position = block.end
        blocks.append(verify_block(block))
        rows = blocks[-1].rows
        if number:
            before = blocks[-2].rows[-1]
            check("T21", (before.key, -before.seqno) < (rows[0].key, -rows[0].seqno), block.at)
            check("T22", blocks[-2].block.goes_on == (before.key == rows[0].key), block.at)
    check("T22", not block.goes_on, block.at)
    check("T15", position == data.offset + data.len, position)

    rows = [row for found in blocks for row in found.rows]
    references = [reference for found in blocks for reference in found.references]
    keys = {row.key for row in rows}
    expiries = [row.expiry for row in rows if row.expiry]
    check("T16", (rows[0].key, rows[-1].key) == (table.smallest, table.largest), properties_at)
    expected = {
        "row_count": len(rows),
        "min_seqno": min(row.seqno for row in rows),
        "max_seqno": max(row.seqno for row in rows),
        "key_count": len(keys),
        "delete_count": sum(row.kind == DELETE for row in rows),
        "merge_count": sum(row.kind == MERGE for row in rows),
        "expiring_count": len(expiries),
        "reference_count": len(references),
        "key_bytes": sum(len(row.key) for row in rows),
        "value_bytes": sum(len(row.value) for row in rows),
        "min_expiry": min(expiries, default=0),
        "block_count": header.block_count,
    }
    told = {**table.properties._asdict(), **table.footer._asdict()}
    for name, number in expected.items():
        check("T17", told[name] == number, properties_at)
    verify_values(table, references)
    verify_gaps(table)
    verify_index(table, [(found.rows[0].key, found.rows[-1].key) for found in blocks], min(map(len, keys)))
    some_key_goes_on = any(found.block.goes_on for found in blocks)
    check("I14", table.index.may_span == some_key_goes_on, table.index.at + 12)
    if table.filter:
        check("X5", all(table.filter.lets_through(x) for found in blocks for x in found.hashes), table.filter.at)
        check("X6", table.filter.header.key_count == len(keys), table.filter.at + 16)

def verify_values(table, references):
    """Rule T24: references and values follow each other without holes."""
    region, position = table.regions.get(VALUES), 0
    table.check("T24", (region is not None) == bool(references), table.foot)
    for number, (at, reference) in enumerate(references):
        start = round_up(position, 64)
        table.check("T24", (reference.index, reference.offset) == (number, start), at)
        table.check("T20", not any(table.region(region)[position:start]), region.offset + position)
        position = start + reference.len
    table.check("T24", not references or 0 < position == region.len, table.foot)

def verify_gaps(table):
    position = FILE_HEADER.size
    for region in table.regions.values():
        table.check("T20", not any(table.data[position:region.offset]), position)
        position = region.offset + stored_len(region)
    table.check("T20", not any(table.data[position:table.foot]), position)

# ---- A data block (chapter 04) ----

Verified = namedtuple("Verified", "block rows hashes references")

def verify_block(block):
    h, rows, check = block.h, block.rows(), block.check
    order = [(row.key, -row.seqno) for row in rows]
    check("B13", all(a < b for a, b in zip(order, order[1:])), block.at)
    hash_of = {key: xxh3(key, block.hash_seed) for key in {row.key for row in rows}}
    hashes = [hash_of[row.key] for row in rows]
    expected = bytes(hashed >> 32 & 0xFF for hashed in hashes)
    check("B14", block.fingerprints[:block.n] == expected, block.at + BLOCK_HEADER.size)
    padding = block.fingerprints[block.n:] + block.file.data[block.position:block.end]
    check("B15", not any(padding), block.position)
    for said, expected in encoding(block, rows):
        check("B16", said == expected, block.at)
    references = [(block.values_at + start, VALUE_REF.read(block.value_heap, start))
                  for start, kind in zip(block.value_offsets, block.kinds) if kind & 16]
    return Verified(block, rows, hashes, references)

def encoding(block, rows):
    """What the block says and what chapter 04, "The one encoding", has it say."""
    h, expiring = block.h, [row.expiry for row in rows if row.expiry]
    first_seqno, first_expiry = min(block.seqnos), min(expiring, default=0)
    yield h.prefix_len, shared(rows[0].key, rows[-1].key)
    yield h.key_stride, stride_of(block.key_offsets, NO_KEY_STRIDE)
    yield h.value_stride, stride_of(block.value_offsets, NO_VALUE_STRIDE)
    yield bool(h.columns & 1), max(h.key_heap_len, h.value_heap_len) > 0xFFFF
    yield bool(h.columns & 2), any(block.seqnos)
    yield bool(h.columns & 4), any(block.kinds)
    yield bool(h.columns & 8), bool(expiring)
    yield (block.seqno_base, block.expiry_base), (first_seqno, first_expiry)
    if any(block.seqnos):
        yield block.seqno_code, code_of([seqno - first_seqno for seqno in block.seqnos], 0)
    if expiring:
        yield block.expiry_code, code_of([row.expiry and row.expiry - first_expiry + 1 for row in rows], 1)
    yield h.block_len, round_up(block.position - block.at, 64)

def stride_of(offsets, none):
    lengths = {b - a for a, b in zip(offsets, offsets[1:])}
    return lengths.pop() if len(lengths) == 1 and max(lengths) < none else none

def code_of(deltas, same):
    """The width code of a column of numbers: 7 if every delta is `same`, else the smallest that holds them."""
    return 7 if set(deltas) == {same} else next(code for code in range(4) if max(deltas) < 1 << (8 << code))

# ---- The index (chapter 05) ----

def verify_index(table, ends, shortest_key):
    """`ends` are the first and the last key of every block."""
    index, check = table.index, table.check
    h, at, separators = index.header, index.at, index.separators
    if not index.uniform:
        offsets = index.block_offsets
        ascending = all(a < b for a, b in zip(offsets, offsets[1:]))
        check("I9", ascending and 64 * offsets[-1] == table.regions[DATA].len, at)
    first_key, last_key = ends[0][0], ends[-1][1]
    check("I13", index.prefix == first_key[:shared(first_key, last_key)], at + 8)
    check("I13", h.head_offset == max(0, min(h.prefix_len, shortest_key - 8)), at + 10)
    spanning = [before[1] == block[0] for before, block in zip(ends, ends[1:])]
    check("I11", separators[0] == b"", at)
    for i, spans in enumerate(spanning, 1):
        before, first = ends[i - 1][1], ends[i][0]
        check("I11", separators[i - 1] < separators[i] or (spans and separators[i - 1] == separators[i]), at)
        check("I12", index.prefix + separators[i] == (first if spans else first[:shared(first, before) + 1]), at)

    keys = [index.prefix + separator for separator in separators]
    heads = [0] + [head_of(key, h.head_offset) for key in keys[1:]]
    tied = [[keys[i] for i in run] for _, run in itertools.groupby(range(1, len(keys)), heads.__getitem__)]
    lengths = [shared(tie[0], tie[-1]) for tie in tied if tie[0] != tie[-1]]
    check("I15", index.ties == bool(lengths) and h.tie_offset == min(lengths, default=0), at + 14)
    trees = [levels_over(heads)]
    if index.ties:
        trees.append(levels_over([0] + [head_of(key, h.tie_offset) for key in keys[1:]]))
    arrays = [level for tree in trees for level in tree[:-1]] + [tree[-1] for tree in trees]
    check("I10", list(index.words) == list(itertools.chain(*arrays)), at)

def levels_over(heads):
    """The levels of a search tree, the root first and the heads last, each filled up to whole nodes."""
    levels = [heads]
    while len(levels[0]) > 16:
        levels.insert(0, levels[0][::16])
    return [level + [M64] * (-len(level) % 16) for level in levels]
