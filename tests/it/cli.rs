//! The command line, as a script uses it: output, messages and exit codes.

mod merge;
mod repair;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;
use tinydb::Db;

/// What a run of the tool gave.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn command<A: AsRef<OsStr>>(args: &[A]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tinydb"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the tool with some standard input.
#[track_caller]
fn run_with<A: AsRef<OsStr>>(args: &[A], input: &[u8]) -> Run {
    let mut child = command(args).spawn().expect("the tool starts");
    // A tool that does not read its input may be gone already.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    let output = child.wait_with_output().expect("the tool ends");
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

#[track_caller]
fn run<A: AsRef<OsStr>>(args: &[A]) -> Run {
    run_with(args, b"")
}

impl Run {
    /// It said exactly this and nothing else.
    #[track_caller]
    fn says(&self, stdout: &str) {
        assert_eq!((self.code, self.stdout.as_str(), self.stderr.as_str()), (Some(0), stdout, ""));
    }

    /// It succeeded, and said these words among others.
    #[track_caller]
    fn contains(&self, words: &[&str]) {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{}", self.stdout);
        assert!(words.iter().all(|words| self.stdout.contains(words)), "{}", self.stdout);
    }

    /// It answered no, without a message.
    #[track_caller]
    fn says_no(&self) {
        assert_eq!((self.code, self.stdout.as_str(), self.stderr.as_str()), (Some(1), "", ""));
    }

    /// It failed with this code and one line that holds these words.
    #[track_caller]
    fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{}", self.stderr);
        assert!(words.iter().all(|words| self.stderr.contains(words)), "{}", self.stderr);
        assert!(code == 2 || self.stderr.lines().count() == 1, "{}", self.stderr);
    }
}

/// A directory that is gone when the test ends, and the place of a database in it.
fn place() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let dir = parent.path().join("db");
    (parent, dir)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

/// A database with these records.
fn filled(dir: &Path, records: &[(&[u8], &[u8])]) {
    let db = Db::open(dir).expect("a fresh database");
    for (key, value) in records {
        db.put(key, value).expect("a write");
    }
    db.close().expect("a clean end");
}

fn unicode() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/unicode.tsv")
}

/// The database's files whose names start with this, sorted.
fn files(dir: &Path, start: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("the database's directory");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.file_name().expect("a name").to_string_lossy().starts_with(start));
    files.sort();
    files
}

#[track_caller]
fn is_whole(dir: &Path) {
    let verify = run(&["verify", text(dir)]);
    assert_eq!((verify.code, verify.stderr.as_str()), (Some(0), ""), "{}", verify.stdout);
    assert!(verify.stdout.ends_with(" are whole\n"), "{}", verify.stdout);
}

fn flip_a_bit(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("the file");
    bytes[at] ^= 1;
    let mut permissions = fs::metadata(path).expect("the file").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    fs::set_permissions(path, permissions).expect("a file of our own");
    fs::write(path, bytes).expect("a writable file");
}

#[test]
fn what_is_put_is_got_until_it_is_deleted() {
    let (_parent, dir) = place();
    let dir = text(&dir);
    run(&["put", dir, "planet", "earth"]).says("");
    run(&["get", dir, "planet"]).says("earth\n");
    run(&["get", dir, "planet", "--no-newline"]).says("earth");
    run(&["put", dir, "planet", "mars"]).says("");
    run(&["get", dir, "planet"]).says("mars\n");
    run(&["get", dir, "star"]).says_no();
    run(&["delete", dir, "planet"]).says("");
    run(&["delete", dir, "planet"]).says("");
    run(&["get", dir, "planet"]).says_no();
}

#[test]
fn keys_and_values_are_any_bytes() {
    let (_parent, dir) = place();
    let dir = text(&dir);
    run(&["put", dir, "", ""]).says("");
    run(&["get", dir, ""]).says("\n");
    run_with(&["put", dir, "from input"], b"two\nlines\n").says("");
    run(&["get", "-n", dir, "from input"]).says("two\nlines\n");
    run(&["get", "-e", dir, "from input"]).says("two\\nlines\\n\n");
    run(&["put", "-e", dir, r"\x00\xff\t", r"\\\r"]).says("");
    run(&["get", "-en", dir, r"\x00\xff\t"]).says(r"\\\r");
    run(&["put", dir, r"literal\n", r"\t"]).says("");
    run(&["get", dir, r"literal\n"]).says("\\t\n");
    run(&["get", "-e", dir, r"literal\\n"]).says("\\\\t\n");
    let bytes = [OsString::from("put"), dir.into(), OsStr::from_bytes(b"\xfe").into(), "1".into()];
    run(&bytes).says("");
    run(&["get", "-e", dir, r"\xfe"]).says("1\n");
    run(&["put", "-e", dir, r"\q", ""]).fails(3, &[r"unknown escape"]);
}

#[test]
fn a_value_can_be_given_a_time_to_live() {
    let (_parent, dir) = place();
    let dir = text(&dir);
    run(&["put", dir, "k", "v", "--ttl", "3600"]).says("");
    run(&["get", dir, "k"]).says("v\n");
    run(&["put", dir, "k", "v", "--ttl", "0"]).fails(3, &["time to live of zero"]);
}

#[test]
fn a_wrong_command_line_is_code_2() {
    for args in [&[][..], &["fly"], &["get", "dir"], &["put", "dir"], &["scan", "--limit", "x"]] {
        run(args).fails(2, &["--help"]);
    }
    run(&["scan", "dir", "--prefix", "a", "--from", "b"]).fails(2, &["cannot be used with"]);
}

#[test]
fn a_missing_database_is_not_made_by_reading() {
    let (_parent, dir) = place();
    for verb in [&["scan"][..], &["stats"], &["verify"]] {
        run(&[verb, &[text(&dir)]].concat()).fails(3, &["no database at", text(&dir)]);
    }
    run(&["get", text(&dir), "k"]).fails(3, &["no database at"]);
    run(&["delete", text(&dir), "k"]).fails(3, &["no database at"]);
    assert!(!dir.exists());
}

#[test]
fn a_database_that_is_open_elsewhere_is_refused() {
    let (_parent, dir) = place();
    let db = Db::open(&dir).expect("a fresh database");
    run(&["get", text(&dir), "k"]).fails(3, &["open elsewhere", "LOCK"]);
    db.close().expect("a clean end");
    run(&["get", text(&dir), "k"]).says_no();
}

#[test]
fn a_scan_shows_what_it_is_asked_for() {
    let (_parent, dir) = place();
    filled(&dir, &[(b"a", b"1"), (b"b", b"2"), (b"ba", b"3\n"), (b"c", b""), (b"\xff", b"\0")]);
    #[rustfmt::skip]
    let cases: &[(&[&str], &str)] = &[
        (&[],                               "a\t1\nb\t2\nba\t3\\n\nc\t\n\\xff\t\\x00\n"),
        (&["--reverse"],                    "\\xff\t\\x00\nc\t\nba\t3\\n\nb\t2\na\t1\n"),
        (&["--keys-only"],                  "a\nb\nba\nc\n\\xff\n"),
        (&["--count"],                      "5\n"),
        (&["--limit", "2"],                 "a\t1\nb\t2\n"),
        (&["--limit", "0"],                 ""),
        (&["--reverse", "--limit", "1"],    "\\xff\t\\x00\n"),
        (&["--prefix", "b"],                "b\t2\nba\t3\\n\n"),
        (&["--prefix", "b", "--reverse"],   "ba\t3\\n\nb\t2\n"),
        (&["--prefix", ""],                 "a\t1\nb\t2\nba\t3\\n\nc\t\n\\xff\t\\x00\n"),
        (&["--prefix", "x", "--count"],     "0\n"),
        (&["--from", "b", "--to", "c"],     "b\t2\nba\t3\\n\n"),
        (&["--from", "c", "--keys-only"],   "c\n\\xff\n"),
        (&["--to", "b"],                    "a\t1\n"),
        (&["--from", "c", "--to", "b"],     ""),
        (&["-e", "--from", r"\xff"],        "\\xff\t\\x00\n"),
        (&["--format", "jsonl", "--prefix", "ba"], "{\"key\":\"ba\",\"value\":\"3\\n\"}\n"),
        (&["--format", "jsonl", "--from", "d"],
         "{\"key_hex\":\"ff\",\"value\":\"\\u0000\"}\n"),
    ];
    for (args, want) in cases {
        run(&[&["scan", text(&dir)], *args].concat()).says(want);
    }
}

#[test]
fn what_a_scan_prints_is_what_an_import_reads() {
    let (parent, dir) = place();
    let all_bytes: Vec<u8> = (0..=255).collect();
    filled(&dir, &[(b"", b"\\n"), (&all_bytes, "Grüße\r\n\t".as_bytes()), (b"k", &all_bytes)]);
    for format in ["text", "jsonl"] {
        let printed = run(&["scan", text(&dir), "--format", format]).stdout;
        let copy = parent.path().join(format);
        let read_as = if format == "text" { "tsv" } else { format };
        let import = ["import", text(&copy), "--format", read_as];
        assert_eq!(run_with(&import, printed.as_bytes()).code, Some(0));
        run(&["scan", text(&copy), "--format", format]).says(&printed);
    }
}

#[test]
fn an_import_reads_files_plain_and_gzipped_by_their_names() {
    let (parent, dir) = place();
    let tsv = b"b\t2\\t2\na\t1";
    let jsonl = b"{\"key\": \"b\", \"value\": \"2\\t2\"}\n{\"key\": \"a\", \"value\": 1}\n";
    let gzip = |bytes: &[u8]| {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(bytes).expect("memory");
        packed.finish().expect("memory")
    };
    let files = [
        ("one.tsv", tsv.to_vec()),
        ("two.tsv.gz", gzip(tsv)),
        ("three.jsonl", jsonl.to_vec()),
        ("four.jsonl.gz", gzip(jsonl)),
    ];
    for (name, bytes) in files {
        let file = parent.path().join(name);
        fs::write(&file, bytes).expect("a file");
        let dir = dir.with_extension(name);
        let import = run(&["import", text(&dir), text(&file)]);
        assert_eq!(import.code, Some(0), "{}", import.stderr);
        assert!(
            import.stdout.starts_with("2 records, 6 B of keys and values"),
            "{}",
            import.stdout
        );
        run(&["scan", text(&dir)]).says("a\t1\nb\t2\\t2\n");
    }
}

#[test]
fn a_bad_line_ends_an_import_and_keeps_what_came_before() {
    let (_parent, dir) = place();
    let import = run_with(&["import", text(&dir), "-"], b"a\t1\nb\t2\nno tab\nc\t3\n");
    import.fails(3, &["standard input: line 3: no tab", "2 records were imported"]);
    run(&["scan", text(&dir), "--keys-only"]).says("a\nb\n");
    run(&["import", text(&dir), "missing.tsv"]).fails(3, &["missing.tsv: No such file"]);
}

#[test]
fn sorted_records_are_imported_at_once_or_not_at_all() {
    let (_parent, dir) = place();
    let import = |input: &str| run_with(&["import", text(&dir), "--sorted"], input.as_bytes());
    let scan = || run(&["scan", text(&dir), "--keys-only"]).stdout;
    assert!(import("b\t1\nc\t2\n").stdout.starts_with("2 records, 4 B"));
    import("a\t1\nd\t2\nd\t3\n").fails(3, &["keys have to ascend", "0 records were imported"]);
    import("a\t1\nno tab\n").fails(3, &["line 2: no tab", "0 records were imported"]);
    assert_eq!(scan(), "b\nc\n");
    assert!(import("").stdout.starts_with("0 records"));
    assert_eq!(import("a\t1\nc\t3\n").code, Some(0));
    assert_eq!(scan(), "a\nb\nc\n");
    run(&["get", text(&dir), "c"]).says("3\n");
    run(&["import", text(&dir), "--sorted", "--sync"]).fails(2, &["--sync"]);
}

#[test]
fn real_records_are_imported_and_found() {
    let (_parent, dir) = place();
    let import = run(&["import", text(&dir), text(&unicode())]);
    assert!(import.stdout.starts_with("34,924 records, 1.83 MiB"), "{import:?}");
    run(&["scan", text(&dir), "--count"]).says("34924\n");
    run(&["get", text(&dir), "U+1F980"]).says("CRAB;So;0;ON;;;;;N;;;;;\n");
    run(&["scan", text(&dir), "--prefix", "U+10FFF", "--keys-only"]).says("U+10FFFD\n");
    is_whole(&dir);
}

#[test]
fn a_reader_of_the_output_may_stop_early() {
    let (_parent, dir) = place();
    assert_eq!(run(&["import", text(&dir), text(&unicode())]).code, Some(0));
    let mut child = command(&["scan", text(&dir)]).spawn().expect("the tool starts");
    let mut out = child.stdout.take().expect("a pipe");
    out.read_exact(&mut [0; 10]).expect("ten bytes of output");
    drop(out);
    let output = child.wait_with_output().expect("the tool ends");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
}

#[test]
fn stats_show_what_the_database_consists_of() {
    let (_parent, dir) = place();
    filled(&dir, &[(b"a", b"1")]);
    let stats = run(&["stats", text(&dir)]);
    assert_eq!((stats.code, stats.stderr.as_str()), (Some(0), ""));
    let has = |name: &str, value: &str| {
        let words = [name, value];
        stats.stdout.lines().any(|line| line.split_whitespace().eq(words))
    };
    assert!(has("last_seqno", "1") && has("dropped_bytes", "0"), "{}", stats.stdout);
    let json = run(&["stats", text(&dir), "--json"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["last_seqno"], 1);
}

#[test]
fn compact_merges_all_tables_into_one() {
    let (_parent, dir) = place();
    for value in ["1", "2", "3"] {
        filled(&dir, &[(b"a", value.as_bytes()), (b"b", b"x")]);
        Db::open(&dir).and_then(|db| db.flush()).expect("a table");
    }
    let ranged = run(&["compact", text(&dir), "--from", "x", "--to", "y"]);
    assert_eq!((ranged.code, ranged.stderr.as_str()), (Some(0), ""));
    let compact = run(&["compact", text(&dir)]);
    assert_eq!((compact.code, compact.stderr.as_str()), (Some(0), ""));
    assert!(compact.stdout.contains("after:  1 tables in 1 levels, 2 rows"), "{}", compact.stdout);
    assert_eq!(files(&dir, "TABLE-").len(), 1);
    assert_eq!(run(&["get", text(&dir), "a"]).stdout, "3\n");
    is_whole(&dir);
}

#[test]
fn damage_is_found_by_verify_and_named() {
    let (_parent, dir) = place();
    assert_eq!(run(&["import", text(&dir), text(&unicode())]).code, Some(0));
    Db::open(&dir).and_then(|db| db.flush()).expect("a table");
    is_whole(&dir);
    let table = files(&dir, "TABLE-").pop().expect("a table");
    flip_a_bit(&table, 5000);
    let verify = run(&["verify", text(&dir)]);
    assert_eq!((verify.code, verify.stderr.as_str()), (Some(1), ""));
    assert!(verify.stdout.contains(text(&table)), "{}", verify.stdout);
}

#[test]
fn every_file_can_be_dumped() {
    let (_parent, dir) = place();
    let long = vec![b'v'; 10_000];
    filled(&dir, &[(b"key one", b"value one"), (b"key two", &long)]);
    Db::open(&dir).and_then(|db| db.flush()).expect("a table");
    filled(&dir, &[(b"key three", b"value three")]);
    let cases = [
        ("TABLE-", ["block 0", "\"key one\" \"value one\"", "smallest_key", "footer"]),
        ("LOG-", ["log header", "batch", "\"key three\" \"value three\"", "seal"]),
        ("MANIFEST-", ["manifest header", "table 0", "smallest key", "\"key two\""]),
    ];
    for (start, wanted) in cases {
        let mut shown = String::new();
        for file in files(&dir, start) {
            let dump = run(&["dump", text(&file)]);
            assert_eq!((dump.code, dump.stderr.as_str()), (Some(0), ""), "{}", dump.stdout);
            shown.push_str(&dump.stdout);
        }
        for want in wanted {
            assert!(shown.contains(want), "{start}: no {want} in\n{shown}");
        }
    }
    run(&["dump", text(&unicode())]).fails(3, &["no table, log or manifest"]);
    run(&["dump", text(&dir)]).fails(3, &["not a regular file"]);
}

/// The vectors of the format that a dump is made for, and their bytes.
fn vectors() -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("format-spec/vectors");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_file = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.ends_with(".bin") && !name.starts_with("block") && name != "log-torn-header.bin"
    };
    entries.filter(is_file).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn a_dump_as_json_says_what_the_answers_of_the_vectors_say() {
    for (path, bytes) in vectors() {
        let dump = run(&["dump", "--json", text(&path)]);
        let lines: Vec<serde_json::Value> =
            dump.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let answer = fs::read_to_string(path.with_extension("json")).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(lines[0]["len"], bytes.len());
        for line in lines.iter().filter(|line| line["name"].is_string()) {
            let at = usize::try_from(line["at"].as_u64().unwrap()).unwrap();
            let len = usize::try_from(line["len"].as_u64().unwrap()).unwrap();
            let stored = &bytes[at..at + len];
            // Numbers and bytes are those that stand at that place.
            if let Some(number) = line["value"].as_u64() {
                let little_endian =
                    stored.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
                assert_eq!(number, little_endian, "{line}");
            }
            assert!(!line["spec"].as_str().unwrap().is_empty(), "{line}");
        }
        let seqnos = |name: &str| -> Vec<u64> {
            let rows = lines.iter().filter(|line| line[name].is_string());
            rows.map(|line| line["seqno"].as_u64().unwrap()).collect()
        };
        if let Some(rows) = answer["rows"].as_array() {
            let want: Vec<u64> = rows.iter().map(|row| row[1].as_u64().unwrap()).collect();
            assert_eq!(seqnos("key"), want, "{}", path.display());
        }
        if let Some(fragments) = answer["range_tombstones"].as_array() {
            let want: Vec<u64> = fragments.iter().map(|it| it[2].as_u64().unwrap()).collect();
            assert_eq!(seqnos("start"), want, "{}", path.display());
        }
    }
}

#[test]
fn a_dump_in_hexadecimal_shows_each_byte_once() {
    for (path, bytes) in vectors() {
        let dump = run(&["dump", "--hex", text(&path)]);
        let mut shown = Vec::new();
        for line in dump.stdout.lines().filter(|line| line.starts_with("0x")) {
            let (at, rest) = line.split_once("  ").unwrap();
            let column = rest.split("  ").next().unwrap();
            let byte = |text| u8::from_str_radix(text, 16).ok().filter(|_| text.len() == 2);
            let more = match column.split_once(" × ") {
                Some(("00", count)) => vec![0; count.parse().unwrap()],
                _ => match column.split(' ').map(byte).collect::<Option<Vec<u8>>>() {
                    Some(bytes) => bytes,
                    None => continue, // the title of a structure
                },
            };
            assert_eq!(at, format!("{:#010x}", shown.len()), "{}: {line}", path.display());
            shown.extend(more);
        }
        assert!(shown == bytes, "{}", path.display());
        // Behind the end of a torn log stands what nobody vouches for.
        let is_log = path.file_name().unwrap().to_string_lossy().starts_with("log-");
        assert!(is_log || !dump.stdout.contains("without a name"), "{}", dump.stdout);
    }
    run(&["dump", "--hex", "--json", "file"]).fails(2, &["cannot be used with"]);
}

#[test]
fn damage_in_a_dump_as_json_names_its_rule() {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("format-spec/vectors/refused");
    let rules = ["B14", "I2", "X4", "D5", "T13", "L11", "M12"];
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.collect();
    for rule in rules {
        let is_of_rule = |path: &&std::path::PathBuf| {
            path.file_name().unwrap().to_string_lossy().starts_with(&format!("{rule}-"))
        };
        let path = files.iter().find(is_of_rule).unwrap();
        let dump = run(&["dump", "--json", text(path)]);
        assert_eq!(dump.code, Some(1));
        let named = format!("\"rule\":\"{rule}\"");
        let is_named = |line: &str| line.contains(&named) && line.contains("\"wrong\":\"damaged\"");
        assert!(dump.stdout.lines().any(is_named), "{rule}: {}", dump.stdout);
    }
}

#[test]
fn a_damaged_file_is_dumped_with_its_damage() {
    let (_parent, dir) = place();
    filled(&dir, &[(b"key one", b"value one")]);
    Db::open(&dir).and_then(|db| db.flush()).expect("a table");
    let table = files(&dir, "TABLE-").pop().expect("a table");
    let data_offset = 8192;
    flip_a_bit(&table, data_offset + 40);
    let dump = run(&["dump", text(&table)]);
    assert_eq!((dump.code, dump.stderr.as_str()), (Some(1), ""));
    assert!(dump.stdout.contains("DAMAGED: "), "{}", dump.stdout);
    assert!(dump.stdout.contains("footer"), "{}", dump.stdout);
}

#[test]
fn the_demo_survives_its_kill_and_reads_everything_back() {
    let (_parent, dir) = place();
    let demo = run(&["demo", text(&dir)]);
    assert_eq!((demo.code, demo.stderr.as_str()), (Some(0), ""), "{}", demo.stdout);
    assert!(demo.stdout.contains("34,924 records"), "{}", demo.stdout);
    assert!(demo.stdout.contains("killed with SIGKILL"), "{}", demo.stdout);
    assert!(demo.stdout.ends_with("nothing differs.\n"), "{}", demo.stdout);
    run(&["scan", text(&dir), "--count"]).says("34924\n");
    is_whole(&dir);
}

#[test]
fn the_demo_leaves_a_database_that_exists_alone() {
    let (_parent, dir) = place();
    filled(&dir, &[(b"mine", b"1")]);
    let demo = run(&["demo", text(&dir)]);
    assert_eq!(demo.code, Some(3));
    assert!(demo.stderr.contains("exists already"), "{}", demo.stderr);
    run(&["scan", text(&dir)]).says("mine\t1\n");
}

#[test]
fn a_range_is_deleted_by_its_ends() {
    let (_parent, place) = place();
    let dir = text(&place);
    for key in ["a", "b", "c", "d"] {
        run(&["put", dir, key, "v"]).says("");
    }
    run(&["delete-range", dir]).fails(2, &["--from"]);
    run(&["delete-range", dir, "--from", "b", "--to", "d"]).says("");
    run(&["scan", dir, "--keys-only"]).says("a\nd\n");
    run(&["delete-range", dir, "--from", "\\x64", "--escaped"]).says("");
    run(&["scan", dir, "--keys-only"]).says("a\n");
    run(&["delete-range", dir, "--all"]).says("");
    run(&["scan", dir, "--count"]).says("0\n");
    is_whole(&place);
}
