//! The house keeps itself: what ARCHITECTURE.md promises of the source is checked here.
//!
//! Each rule is a function from text to complaints, so that a test can also show it a bad sample:
//! a rule that can't fail keeps nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The rooms of `src/`, lowest floor first. A room may use itself and the floors below it; rooms
/// on one floor are strangers.
const FLOORS: &[&[&str]] = &[
    &["cpu", "mutants", "sync"],
    &["format"],
    &["error"],
    &["value"],
    &["range"],
    &["batch"],
    &["hooks"],
    &["merge", "options"],
    &["storage"],
    &["range_tombstones"],
    &["cursor"],
    &["memtable", "wal", "table", "manifest"],
    &["engine"],
    &["db"],
];

/// Rooms in several files: the front door is one room.
const FRONT_DOOR: &[&str] = &["db", "iter", "snapshot", "table_writer"];

/// Files that only name what others hold, and so may see every floor.
const EXEMPT_FROM_FLOORS: &[&str] = &["src/lib.rs", "src/internals.rs"];

/// The only files that may hold `unsafe`, each with what it needs it for. At most four.
const UNSAFE_FILES: &[(&str, &str)] = &[
    ("src/cpu.rs", "prefetch, comparing many bytes at once, and AVX2"),
    ("src/storage/arena.rs", "memory that is written while it is shared"),
    ("src/storage/guard.rs", "the handler of SIGBUS"),
    ("src/storage/mmap.rs", "mapping a file"),
];

/// The only files that may ask for the feature `mutants`: others only mark places with `mutant!`,
/// which leaves nothing without it.
const FILES_THAT_NAME_MUTANTS: &[&str] = &["src/internals.rs", "src/lib.rs", "src/mutants.rs"];

/// Rooms that may hold a lock. A read takes none: in `memtable` it is the writer's, in `storage`
/// the simulated disk's. `sync` only names them.
const ROOMS_WITH_LOCKS: &[&str] = &["engine", "memtable", "storage", "sync"];

/// What may stand at the top level, besides names that begin with a dot.
const TOP_LEVEL: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "benches",
    "clippy.toml",
    "deny.toml",
    "format-spec",
    "fuzz",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "src",
    "tests",
];

/// The first two things that a newcomer does.
const README_COMMANDS: &[&str] =
    &["cargo run --release --features cli -- demo", "cargo test --all-features"];

/// Of a file in `src`, without the tests at its end; a file of tests counts whole.
const MOST_LINES: usize = 400;

// ---- what is checked ----------------------------------------------------------------------

#[test]
fn rooms_use_only_lower_floors() {
    let rust = files(&["src"], "rs");
    expect_none(rust.iter().flat_map(|file| upward_uses(&file.path, production(&file.text))));
}

#[test]
fn every_file_opens_with_what_it_is_and_its_spec_io_and_unsafe() {
    let rust = files(&["src"], "rs");
    let rooms = rust.iter().filter(|file| file.path != "src/lib.rs" && !is_test(&file.path));
    expect_none(rooms.flat_map(|file| missing_header(&file.path, &file.text)));
}

#[test]
fn files_are_short() {
    let rust = files(&["src"], "rs");
    expect_none(rust.iter().filter_map(|file| {
        let count = production(&file.text).lines().count();
        (count > MOST_LINES).then(|| format!("{}: {count} lines", file.path))
    }));
}

#[test]
fn unsafe_code_is_only_where_it_is_expected() {
    assert!(UNSAFE_FILES.len() <= 4, "unsafe code belongs in at most four small files");
    let allowed = |path: &str| UNSAFE_FILES.iter().any(|(file, _)| *file == path);
    let rust = files(&["src"], "rs");
    expect_none(rust.iter().filter(|file| !allowed(&file.path)).flat_map(|file| {
        complain(&file.path, &code(&file.text), |line| words(line).any(|word| word == "unsafe"))
    }));
}

#[test]
fn locks_live_in_the_rooms_that_need_them() {
    let rust = files(&["src"], "rs");
    let rooms =
        rust.iter().filter(|file| room(&file.path).is_some_and(|r| !ROOMS_WITH_LOCKS.contains(&r)));
    expect_none(rooms.flat_map(|file| {
        complain(&file.path, &code(production(&file.text)), |line| {
            words(line).any(|word| matches!(word, "Mutex" | "RwLock" | "Condvar"))
        })
    }));
}

#[test]
fn mutants_hide_in_their_macro() {
    let rust = files(&["src"], "rs");
    let others = rust.iter().filter(|file| !FILES_THAT_NAME_MUTANTS.contains(&&*file.path));
    expect_none(others.flat_map(|file| complain(&file.path, &code(&file.text), names_mutants)));
}

#[test]
fn nothing_is_left_unfinished() {
    let all = files(&["src", "tests", "benches", "fuzz"], "rs");
    expect_none(all.iter().flat_map(|file| complain(&file.path, &file.text, is_unfinished)));
}

#[test]
fn an_ignored_test_says_why() {
    let all = files(&["src", "tests", "benches"], "rs");
    let bare = concat!("#[", "ignore]");
    expect_none(
        all.iter().flat_map(|file| complain(&file.path, &file.text, |line| line.contains(bare))),
    );
}

#[test]
fn no_path_of_a_machine_is_written_down() {
    let kinds = ["rs", "md", "toml", "json", "yml", "sh", "py"];
    let places = ["src", "tests", "benches", "fuzz", "format-spec", ".ci", "."];
    let all = kinds.iter().flat_map(|kind| files(&places, kind));
    expect_none(all.flat_map(|file| complain(&file.path, &file.text, names_a_machine)));
}

#[test]
fn the_top_level_holds_only_what_the_layout_names() {
    let git = Command::new("git").arg("ls-files").current_dir(root()).output();
    let Ok(tracked) = git.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()) else {
        return; // not a clone: what a user puts beside the source is his own
    };
    expect_none(tracked.lines().filter_map(unknown_at_top));
}

#[test]
fn the_readmes_commands_are_those_that_ci_runs() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let ci = fs::read_to_string(root().join(".ci/run")).expect(".ci/run");
    expect_none(README_COMMANDS.iter().flat_map(|command| missing_command(command, &readme, &ci)));
}

// ---- the rules ----------------------------------------------------------------------------

/// The room that a file of `src/` belongs to; none for the binary and for `lib.rs`.
fn room(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?.trim_end_matches(".rs");
    (first != "bin" && first != "lib" && first != "internals").then(|| front_door(first))
}

fn front_door(name: &str) -> &str {
    if FRONT_DOOR.contains(&name) { "db" } else { name }
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&front_door(room)))
}

/// What a file uses of floors that are not below it.
fn upward_uses(path: &str, text: &str) -> Vec<String> {
    let Some(own) = room(path).filter(|_| !EXEMPT_FROM_FLOORS.contains(&path) && !is_test(path))
    else {
        return Vec::new();
    };
    let Some(own_floor) = floor(own) else { return vec![format!("{path}: `{own}` has no floor")] };
    let text = code(text);
    let mut complaints: Vec<String> = (rooms_used(&text).into_iter())
        .filter(|used| front_door(used) != own && floor(used).is_none_or(|used| used >= own_floor))
        .map(|used| format!("{path}: must not use `crate::{used}`"))
        .collect();
    let climbs = path.matches('/').count() - usize::from(path.ends_with("/mod.rs"));
    if text.contains(&"super::".repeat(climbs)) {
        complaints.push(format!("{path}: say `crate::…` to leave the room, not `super::`"));
    }
    complaints
}

/// The rooms that a text names as `crate::room` or inside `crate::{…}`.
fn rooms_used(text: &str) -> Vec<&str> {
    let mut rooms = Vec::new();
    for (at, path) in text.match_indices("crate::") {
        let rest = &text[at + path.len()..];
        match rest.strip_prefix('{') {
            Some(group) => rooms.extend(first_names(group)),
            None => rooms.extend(words(rest).next()),
        }
    }
    rooms
}

/// The first name of each path in a `{…}` group, whose opening brace is cut off already.
fn first_names(group: &str) -> Vec<&str> {
    let (mut names, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.extend(words(&group[start..at]).next());
                start = at + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

/// What a file's header lacks.
fn missing_header(path: &str, text: &str) -> Vec<String> {
    let header: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
    if header.is_empty() {
        return vec![format!("{path}: does not open with `//!`")];
    }
    let last: Vec<&str> = header.rsplit(|line| *line == "//!").next().unwrap_or_default().to_vec();
    let last = last.join(" ");
    let lacks = |part: &&&str| !last.contains(**part);
    (["Spec: ", "I/O: ", "Unsafe: "].iter().filter(lacks))
        .map(|part| format!("{path}: the header's last paragraph has no `{part}`"))
        .collect()
}

fn names_mutants(line: &str) -> bool {
    words(line).any(|word| ["mutants", "Mutant", "switch_on", "is_on"].contains(&word))
}

fn is_unfinished(line: &str) -> bool {
    let macros = [concat!("to", "do!("), concat!("unimplement", "ed!("), concat!("db", "g!(")];
    macros.iter().any(|name| line.contains(name))
        || words(line).any(|word| [concat!("FIX", "ME"), concat!("XX", "X")].contains(&word))
}

fn names_a_machine(line: &str) -> bool {
    ["work", "farm", "root", "tmp", "home"].iter().any(|folder| {
        let path = format!("/{folder}/");
        line.match_indices(&path).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || "_.-$}".contains(c))
        })
    })
}

fn unknown_at_top(path: &str) -> Option<String> {
    let name = path.split('/').next().unwrap_or_default();
    let known = name.starts_with('.') || TOP_LEVEL.contains(&name);
    (!known).then(|| format!("{path}: not at the top level of the layout"))
}

fn missing_command(command: &str, readme: &str, ci: &str) -> Vec<String> {
    let in_readme = readme.lines().any(|line| line.trim() == command);
    let in_ci = ci.lines().any(|line| line.starts_with("step ") && line.ends_with(command));
    [("README.md", in_readme), (".ci/run", in_ci)]
        .iter()
        .filter(|(_, found)| !found)
        .map(|(file, _)| format!("{file}: lacks `{command}`"))
        .collect()
}

// ---- reading the source -------------------------------------------------------------------

struct Source {
    /// Relative to the crate, with `/`.
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of this kind below some folders; `.` stands for the top level alone.
fn files(folders: &[&str], kind: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        collect(&root().join(folder), *folder != ".", &mut found);
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == kind));
    let read = |path: &PathBuf| Source {
        path: path.strip_prefix(root()).expect("inside").to_string_lossy().replace('\\', "/"),
        text: fs::read_to_string(path).expect("a text file"),
    };
    found.iter().map(read).collect()
}

fn collect(folder: &Path, deep: bool, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let generated =
            ["target", "corpus", "artifacts", "coverage"].iter().any(|name| path.ends_with(name));
        match path.is_dir() {
            true if deep && !generated => collect(&path, deep, found),
            true => {}
            false => found.push(path),
        }
    }
}

fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// What comes before a file's `#[cfg(test)] mod tests { … }`.
fn production(text: &str) -> &str {
    let mut from = 0;
    while let Some(at) = text[from..].find("\n#[cfg(test)]\n").map(|at| from + at + 1) {
        let is_attribute = |line: &&str| line.starts_with(['#', ' ', ')', ']']);
        let item = text[at..].lines().find(|line| !is_attribute(line)).unwrap_or_default();
        if item.starts_with("mod ") && item.ends_with('{') {
            return &text[..at];
        }
        from = at;
    }
    text
}

/// A text without its comments: what stands between `//` and the end of a line becomes empty.
fn code(text: &str) -> String {
    let before_comment = |line: &str| match line.find("//") {
        Some(at) if !line[..at].ends_with(':') => line[..at].to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(before_comment).collect::<Vec<_>>().join("\n")
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn complain(path: &str, text: &str, is_bad: impl Fn(&str) -> bool) -> Vec<String> {
    let numbered = text.lines().enumerate().filter(|(_, line)| is_bad(line));
    numbered.map(|(index, line)| format!("{path}:{}: {}", index + 1, line.trim())).collect()
}

#[track_caller]
fn expect_none(complaints: impl IntoIterator<Item = String>) {
    let complaints: Vec<String> = complaints.into_iter().collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

// ---- each rule can fail -------------------------------------------------------------------

#[test]
fn an_upward_or_sideways_use_is_seen() {
    #[rustfmt::skip]
    let cases: &[(&str, &str, usize)] = &[
        // file                 text                                               complaints
        ("src/table/reader.rs", "use crate::format::row::Row;",                            0),
        ("src/table/reader.rs", "use crate::table::cursor::TableCursor;",                  0),
        ("src/table/reader.rs", "use crate::{error::Result, storage::Region};",            0),
        ("src/table/reader.rs", "use crate::memtable::Memtable;",                          1),
        ("src/table/reader.rs", "use crate::{format::{row, wal}, engine::Engine, Bytes};", 2),
        ("src/table/reader.rs", "use crate::{\n    format::row,\n    db::Db,\n};",         1),
        ("src/table/reader.rs", "fn f() -> crate::engine::Engine {}",                      1),
        ("src/table/reader.rs", "/// See [`Db`](crate::db::Db).",                          0),
        ("src/table/reader.rs", "use super::cursor::TableCursor;",                         0),
        ("src/table/reader.rs", "use super::super::engine::Engine;",                       1),
        ("src/table/mod.rs",    "use super::engine::Engine;",                              1),
        ("src/memtable.rs",     "use super::engine::Engine;",                              1),
        ("src/format/row.rs",   "use crate::error::Error;",                                1),
        ("src/options.rs",      "use crate::hooks::Clock;",                                0),
        ("src/hooks.rs",        "use crate::options::Options;",                            1),
        ("src/iter.rs",         "use crate::snapshot::Snapshot;",                          0),
        ("src/engine/mod.rs",   "use crate::iter::Iter;",                                  1),
        ("src/cellar.rs",       "",                                                        1),
        ("src/internals.rs",    "pub use crate::db::Db;",                                  0),
    ];
    for (path, text, want) in cases {
        let got = upward_uses(path, text);
        assert_eq!(got.len(), *want, "{path}, {text:?}: {got:?}");
    }
}

#[test]
fn a_poor_header_is_seen() {
    #[rustfmt::skip]
    let cases: &[(&str, usize)] = &[
        ("//! What.\n//!\n//! Spec: none. I/O: none.\n//! Unsafe: none.\n",  0),
        ("//! What.\n//!\n//! Spec: none. I/O: none.\n",                     1),
        ("//! Spec: a. I/O: b. Unsafe: c.\n//!\n//! More.\nuse std::fs;\n",  3),
        ("use std::fs;\n//! Late. Spec: none. I/O: none. Unsafe: none.\n",   1),
    ];
    for (text, want) in cases {
        assert_eq!(missing_header("src/a.rs", text).len(), *want, "{text:?}");
    }
}

#[test]
fn production_ends_where_the_tests_begin() {
    let check = |text: &str, want: &str| assert_eq!(production(text), want, "{text:?}");
    check("fn a() {}\n\n#[cfg(test)]\nmod tests {\n}\n", "fn a() {}\n\n");
    check("a\n#[cfg(test)]\n#[expect(\n    x\n)]\nmod tests {\n", "a\n");
    check("a\n#[cfg(test)]\nmod tests;\nb\n", "a\n#[cfg(test)]\nmod tests;\nb\n");
    check("a\n#[cfg(test)]\nfn b() {}\nc\n", "a\n#[cfg(test)]\nfn b() {}\nc\n");
}

#[test]
fn a_bad_line_is_seen() {
    #[track_caller]
    fn check(rule: impl Fn(&str) -> bool, line: &str, want: bool) {
        assert_eq!(rule(line), want, "{line}");
    }
    check(is_unfinished, &format!("{}!()", "todo"), true);
    check(is_unfinished, &format!("// {}: later", concat!("FIX", "ME")), true);
    check(is_unfinished, "fn todo() {}", false);
    check(names_mutants, "#[cfg(feature = \"mutants\")]", true);
    check(names_mutants, "if crate::mutants::is_on(Mutant::A) {", true);
    check(names_mutants, "mutant!(A, return);", false);
    check(names_a_machine, &format!("see /{}/notes", "root"), true);
    check(names_a_machine, &format!("cd \"/{}/x\"", "tmp"), true);
    check(names_a_machine, "target/tmp/x and https://example.org/work/x", false);
    assert!(unknown_at_top("notes.txt").is_some());
    assert!(unknown_at_top("scripts/run.sh").is_some());
    assert!(unknown_at_top("src/lib.rs").is_none());
    let command = "cargo test --all-features";
    assert_eq!(missing_command(command, "", "").len(), 2);
    assert_eq!(missing_command(command, command, "step \"tests\" cargo test").len(), 1);
    assert_eq!(code("a // b\nc").lines().next(), Some("a "));
}
