#!/usr/bin/env python3
"""Runs the reader over all that `format-spec/vectors/index.json` lists, and compares what it finds with what it should.

    python3 test_vectors.py [FOLDER]

Each good vector is read and put into the form that `vectors/README.md` describes, which has to be the answer word for
word. Every key of a table is looked up, beside keys that it lacks. Then each file is broken in many places: it has to be
refused by a rule, or be a log that ends earlier, and nothing else may go wrong. Each refused vector has to be refused
for the rule that it breaks, or the feature that it needs, and to be good where that rule is overlooked. Hashes, merges
and databases are compared with what stands beside them. Prints a line for each good vector.
"""
import json, os, random, re, struct, sys, time, types
import xxh3 as xxh3_in_python
from tinydb_reader import *
from tinydb_verify import verify

SPEC = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
BREAKS = 60  # places where each file is broken


# ---- The answers (vectors/README.md) ----

def number(value):
    return f"0x{value:016x}"


def datum(data):
    if data is None or len(data) <= 64:
        return hexed(data)
    return f"{len(data)} bytes, xxh3 {number(xxh3(data, 0))}"


def some(record, names):
    return {name: getattr(record, name) for name in names.split()}


def row_answer(row):
    return [datum(row.key), row.seqno, KINDS[row.kind], row.expiry, datum(row.value)]


def block_answer(block, start):
    names = "block_len columns key_stride prefix_len row_count value_stride widths"
    return {**some(block.h, names), "offset": block.at - start}


def table_answer(table):
    p, index = table.properties, table.index
    names = "block_count delete_count expiring_count file_number key_bytes key_count merge_count min_expiry " \
            "reference_count value_bytes"
    answer = {
        "what": "table",
        **some(table.footer, "file_len max_seqno min_seqno row_count"),
        "file_id": number(table.header.file_id),
        "hash_seed": number(table.header.hash_seed),
        "regions": [some(region, "flags kind len offset") for region in table.regions.values()],
        "properties": {
            **some(p, names), "database_id": number(p.database_id), "operator": table.operator.decode(),
            "smallest_key": datum(table.smallest), "largest_key": datum(table.largest)},
        "index": {
            **some(index.header, "block_size head_offset"), "level_lens": index.level_lens,
            "placement": "uniform" if index.uniform else "packed", "prefix": datum(index.prefix),
            "separators": list(map(datum, index.separators)), "some_key_goes_on": index.may_span,
            "tie_offset": index.header.tie_offset if index.ties else None},
        "filter": None,
        "blocks": [block_answer(table.block(i), table.regions[DATA].offset) for i in range(p.block_count)],
        "rows": list(map(row_answer, table.rows())),
    }
    if table.tombstones:
        answer["range_tombstones"] = [[datum(t.start), datum(t.end), t.seqno] for t in table.tombstones]
    if table.filter:
        absent = [f"absent {i}" for i in range(100)]
        let_through = [key for key in absent if table.filter.lets_through(xxh3(key.encode(), table.header.hash_seed))]
        answer["filter"] = {
            **some(table.filter.header, "block_count key_count"), "lets_through_of_absent_0_to_99": let_through}
    return answer


def operation_answer(op):
    if isinstance(op, Tombstone):
        return [datum(op.start), "range delete", 0, datum(op.end)]
    return [datum(op.key), KINDS[op.kind], op.expiry, datum(op.value)]


def log_answer(log):
    end = {"state": log.end.state, "at": log.end.at}
    if log.end.rule:
        end["rule"] = log.end.rule
    if log.end.state == "damaged":
        end["proven_upto"] = log.end.proven_upto
    header = log.header and {
        **some(log.header, "first_seqno log_number manifest_number previous_log"), "operator": log.operator.decode(),
        "database_id": number(log.header.database_id), "hash_seed": number(log.header.hash_seed)}
    return {
        "what": "log", "end": end, "header": header, "next_seqno": log.next_seqno,
        "expected_database_id": number(0x0102030405060708), "expected_log_number": 7,
        "records": [{"offset": at, **some(h, "first_seqno synced_upto"), "operations": list(map(operation_answer, ops))}
                    for at, h, ops in log.batches]}


def manifest_answer(manifest):
    tables = []
    for row, smallest, largest in manifest.tables:
        answer = some(row, "file_len file_number level max_seqno min_seqno row_count")
        answer.update(checksum=number(row.checksum), file_id=number(row.file_id))
        answer.update(smallest=datum(smallest), largest=datum(largest))
        answer.update({name: n for name, n in some(row, "range_tombstone_count cleared_seqno").items() if n})
        tables.append(answer)
    h = manifest.header
    return {
        "what": "manifest", **some(h, "last_seqno manifest_number next_file_number oldest_log"),
        "database_id": number(h.database_id), "hash_seed": number(h.hash_seed),
        "operator": manifest.operator.decode(), "tables": tables}


def read(name, data, expected):
    """The answer that the reader gives, and what it opened."""
    if expected["what"] == "table":
        table = Table(name, data)
        verify(table)
        return table_answer(table), table
    if expected["what"] == "log":
        log = Log(name, data, expected["expected_log_number"], int(expected["expected_database_id"], 16))
        return log_answer(log), log
    if expected["what"] == "manifest":
        manifest = Manifest(name, data)
        return manifest_answer(manifest), manifest
    at = expected["file_offset"]  # a block on its own; the answer gives the identity, so it has no hash seed
    file = File(name, bytes(at) + data)
    block = Block(file, at, len(file.data), int(expected["file_id"], 16), 0)
    return {
        "what": "block", "blocks": [block_answer(block, at)], "rows": list(map(row_answer, block.rows())),
        "file_id": expected["file_id"], "file_offset": at}, block


# ---- The checks ----

def check_lookups(table):
    rows = list(table.rows())
    for key, versions in itertools.groupby(rows, lambda row: row.key):
        assert list(table.versions(key)) == list(versions), f"a lookup of {key!r} gives other rows than a scan"
    keys = {row.key for row in rows}
    near = {key + b"\0" for key in keys} | {key[:-1] for key in keys} | {b"", b"\xff" * 20, table.index.prefix}
    for key in near - keys:
        assert not list(table.versions(key)), f"{key!r} is found, and no row has it"


def check_refusals(name, data, expected, opened):
    """Flips a bit, or cuts the file: a rule has to tell, and the records of a log have to be the first true ones."""
    chance, rules = random.Random(name), set()
    for _ in range(BREAKS):
        broken, at = bytearray(data), chance.randrange(len(data))
        if chance.random() < 0.8:
            broken[at] ^= 1 << chance.randrange(8)
        else:
            del broken[at:]
        try:
            answer, log = read(name, bytes(broken), expected)
        except Unsupported:
            continue
        except Broken as error:
            rules.add(error.rule)
            continue
        assert isinstance(opened, Log), f"broken at {at}, and nobody noticed"
        records = answer["records"]
        assert records == expected["records"][:len(records)], f"broken at {at}, and other records are read"
        unharmed = len(records) == len(expected["records"]) or len(broken) < len(data)  # what follows a seal is free
        assert log.end.rule or unharmed, f"broken at {at}, and nobody noticed"
        rules.add(log.end.rule)
    return sorted(rules - {None})


def text_of(folder, ending):
    texts = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(ending):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                texts.append(file.read())
    return "".join(texts)


def rules_of_spec():
    return set(re.findall(r"^- \*\*([A-Z]\d+)\*\*: ", text_of(SPEC, ".md"), re.MULTILINE))


def check_rules():
    """Every rule of the chapters has its place in the reader, and no other is named there."""
    rules = rules_of_spec()
    named = set(re.findall(r'"([A-Z]\d+)"', text_of(os.path.dirname(os.path.abspath(__file__)), ".py")))
    assert rules == named, f"only in the spec or only in the reader: {sorted(rules ^ named)}"
    print(f"rules: {len(rules)}, all of them in the reader")


def check_hashes(folder, hashes):
    """Every number of hashes.json, XXH3 by the package and in Python; and those of README.md are among them."""
    both = xxh3, xxh3_in_python.xxh3
    known = {}
    for case in hashes["xxh3"]:
        data, seed = bytes(i & 0xFF for i in range(case["bytes"])), int(case["seed"], 16)
        found = [number(hash_of(data, seed)) for hash_of in both]
        assert found == 2 * [case["hash"]], f"the hash of {case}"
        known[case["bytes"], seed] = case["hash"]
    text = text_of(SPEC, "README.md")
    seeds = re.search(r"^\| n ((?:\| seed \w+ )+)\|$", text, re.MULTILINE)[1].replace("| seed ", "").split()
    rows = re.findall(r"^\| (\d+) " + r"\| (0x[0-9a-f]{16}) " * len(seeds) + r"\|$", text, re.MULTILINE)
    assert len(rows) > 10, "the hashes of README.md are not found"
    for n, *found in rows:
        assert found == [known[int(n), int(seed, 0)] for seed in seeds], f"README.md on {n} bytes"
    for case in hashes["log_seeds"]:
        assert number(log_seed(int(case["database_id"], 16), case["log_number"])) == case["seed"], case
    for case in hashes["keys"]:
        hashed = xxh3(case["text"].encode() * case["times"], int(case["hash_seed"], 16))
        assert (number(hashed), hashed >> 32 & 0xFF) == (case["hash"], case["fingerprint"]), case
    for case in hashes["filter"]:
        hashed, empty = int(case["hash"], 16), Filter.__new__(Filter)
        empty.header = types.SimpleNamespace(block_count=case["block_count"])
        assert empty.place(hashed) == (case["block"], case["bits"]), case
    for case in hashes["checksums"]:
        covered, found = load(folder, case["file"])[case["start"]:case["end"]], int(case["checksum"], 16)
        stored = word(load(folder, case["stored_in"]), case["stored_at"])
        assert xxh3(covered, int(case["seed"], 16)) == stored == found, case
    print(f"hashes: {sum(map(len, hashes.values()))}")


def check_merges(cases):
    for case in cases:
        base, operands = case["base"], list(map(bytes.fromhex, case["operands"]))
        try:
            value = merge(case["operator"], None if base is None else bytes.fromhex(base), operands).hex()
        except CannotFold:
            value = None
        assert value == case["value"], f"{case}: {value}"
    print(f"merges: {len(cases)}")


def load(folder, name):
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


def refusal(kind, data, read_as):
    """What is said of a file that is not whole: a verdict, its rule or need, and where a torn log ends."""
    name = read_as[kind]
    try:
        if kind == "table":
            return "good", verify(Table(name, data)), None
        if kind == "manifest":
            return "good", verify(Manifest(name, data, int(name[-6:]))), None
        log = Log(name, data, int(name[-6:]), int(read_as["database_id"], 16))
        if log.end.rule is None:
            return "good", log.end.state, None
        return ("torn", log.end.rule, log.end.at) if log.end.state == "torn" else ("refused", log.end.rule, None)
    except Broken as error:
        return "refused", error.rule, None
    except Unsupported as error:
        return "unsupported", str(error), None


def check_refused(folder, index):
    """Every refused vector is refused for its rule; every rule has one, or needs more than one file to be broken."""
    refused = [entry for entry in index["vectors"] if entry["verdict"] != "good"]
    names = {"major": "format version", "feature": "required feature", "region": "critical region of kind"}
    for entry in refused:
        kind, reason = entry["kind"], entry.get("rule")
        if entry["verdict"] == "unsupported":
            (what, number), = entry["needs"].items()
            reason = f"{index['read_as'][kind]}: {names[what]} {number}"
        found = refusal(kind, load(folder, entry["file"]), index["read_as"])
        expected = entry["verdict"], reason, entry.get("at")
        assert found == expected, f"{entry['file']} is {found}, expected {expected}"
    rules = {entry["rule"] for entry in refused + index["databases"] if "rule" in entry}
    missing = rules_of_spec() ^ rules
    assert not missing, f"these rules have no refused vector, or are none: {sorted(missing)}"
    print(f"refused: {len(refused)} vectors, each for its rule or for what it needs")


# Where a rule can't be overlooked: nothing can be read from there on, or what is read there is something else. The rule
# that this breaks, or Python's error.
FOLLOWS = {
    "T10": "KeyError", "T18": "T17", "B1": "B2", "B4": "ValueError", "B7": "B16", "B9": "B13", "B10": "T17",
    "B18": "T17", "B19": "error", "I3": "UnboundLocalError", "I7": "I11", "L1": "L4", "L14": "L9", "O1": "error",
    "O6": "O7", "M1": "error", "M7": "M9"}


def check_alone(folder, index):
    """Each refused vector breaks its rule and only it: who overlooks that rule, and `also`, finds nothing wrong."""
    strict, follows = File.check, {}
    for entry in index["vectors"]:
        if "rule" not in entry:
            continue
        overlooked = {entry["rule"], *entry.get("also", [])}
        File.check = lambda self, rule, holds, at: rule in overlooked or strict(self, rule, holds, at)
        try:
            verdict, what, _ = refusal(entry["kind"], load(folder, entry["file"]), index["read_as"])
            if verdict != "good":
                follows[entry["rule"]] = what
        except (ArithmeticError, LookupError, NameError, TypeError, ValueError, struct.error) as error:
            follows[entry["rule"]] = type(error).__name__
        finally:
            File.check = strict
    assert follows == FOLLOWS, f"if they are overlooked: {follows}"
    print(f"refused: each breaks one rule only, but for {len(FOLLOWS)} that can't be overlooked")


def with_preamble(kind, data, at, value):
    """A file with four other bytes in its preamble, under right checksums."""
    data, size = bytearray(data), 64 if kind == "table" else 128
    starts = (0, len(data) - PAGE) if kind == "table" else (0,)
    for start in starts:
        data[start + at:start + at + 4] = value.to_bytes(4, "little")
    data[size - 8:size] = xxh3(bytes(data[:size - 8]), 0).to_bytes(8, "little")
    if kind == "table":
        data[-8:] = xxh3(bytes(data[-PAGE:-8]), word(data, 24)).to_bytes(8, "little")
    return bytes(data)


def check_versions(folder, index):
    """Every optional feature bit and minor version is ignored, every required bit and major version named."""
    samples = {"table": "table-minimal.bin", "log": "log-sealed.bin", "manifest": "manifest-tables.bin"}
    for kind, file in samples.items():
        data, name = load(folder, file), index["read_as"][kind]

        def says(at, value):
            verdict, what, _ = refusal(kind, with_preamble(kind, data, at, value), index["read_as"])
            return what if verdict == "unsupported" else verdict

        for bit in range(32):
            assert says(16, 1 << bit) == "good", f"{kind}: optional feature {bit}"
            for bits in 1 << bit, -1 << bit & 0xFFFFFFFF:
                assert says(12, bits) == f"{name}: required feature {bit}", f"{kind}: required features {bits:#x}"
        for minor in 0, 1, 0xFFFF:
            assert says(8, 1 | minor << 16) == "good", f"{kind}: minor version {minor}"
        for major in 0, 2, 0xFFFF:
            assert says(8, major) == f"{name}: format version {major}", f"{kind}: major version {major}"
    print("versions: every feature bit of every kind of file")


def check_databases(folder, index):
    """Every good database has the rows that it should have, and every other one is refused for its rule."""
    for entry in index["databases"]:
        path, rule = os.path.join(folder, entry["directory"]), None
        try:
            db = Database(path)
            verify(db)
        except Broken as error:
            rule = error.rule
        assert rule == entry.get("rule"), f"{path}: rule {rule}, expected {entry.get('rule')}"
        if rule:
            continue
        cover, found, options = db.cover(M64), [], types.SimpleNamespace(snapshot=M64, now=index["read_as"]["now"])
        for key, rows in itertools.groupby((row for row, _ in db.rows()), lambda row: row.key):
            rows = list(rows)
            assert rows == db.versions(key), f"{path}: a lookup of {key!r} gives other rows than a scan"
            found.append(db.seen(key, rows, cover(key), options))
        found = list(filter(None, found))
        expected = [json.loads(line) for line in load(folder, entry["rows"]).decode().splitlines()]
        assert found == expected, f"{path}: the rows are {json.dumps(found)}"
    print(f"databases: {len(index['databases'])}, with all their rows or refused for their rule")


def main(folder):
    began, failed = time.time(), 0
    check_rules()
    index = json.loads(load(folder, "index.json"))
    check_hashes(folder, json.loads(load(folder, index["hashes"])))
    check_merges(json.loads(load(folder, index["merges"])))
    check_refused(folder, index)
    check_alone(folder, index)
    check_versions(folder, index)
    check_databases(folder, index)
    good = [entry for entry in index["vectors"] if entry["verdict"] == "good"]
    assert good, f"no vectors in {folder}"
    for entry in good:
        name, data = entry["file"][:-len(".bin")], load(folder, entry["file"])
        expected = json.loads(load(folder, entry["answer"]))
        try:
            found, opened = read(name, data, expected)
            for part in sorted(found.keys() | expected.keys()):
                assert found.get(part) == expected.get(part), \
                    f"{part} is {json.dumps(found.get(part))}, expected {json.dumps(expected.get(part))}"
            if isinstance(opened, Table):
                check_lookups(opened)
            rules = check_refusals(name, data, expected, opened)
            print(f"{name}: as the answer says; broken in {BREAKS} places it is refused by {', '.join(rules)}")
        except (AssertionError, Broken, Unsupported) as error:
            failed += 1
            print(f"{name}: FAILED: {str(error)[:2000]}")
    print(f"{len(good)} good vectors, {failed} failed, {time.time() - began:.1f} s")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(SPEC, "vectors")))
