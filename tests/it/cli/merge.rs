//! Databases with a merge operator, on the command line.

use tinydb::{MergeError, MergeOperator, Options, merge};

use super::{files, is_whole, place, run, run_with, text};

#[test]
fn what_is_merged_reads_without_naming_the_operator_again() {
    let (_parent, dir) = place();
    let dir = text(&dir);
    run(&["merge", dir, "list", "a", "--operator", "append", "--separator", r"\t"]).says("");
    run(&["merge", dir, "list", "b"]).says("");
    run_with(&["merge", dir, "list"], b"c\n").says("");
    run(&["merge", "-e", dir, "list", r"\x00"]).says("");
    run(&["get", "-e", dir, "list"]).says("a\\tb\\tc\\n\\t\\x00\n");
    run(&["put", dir, "list", "new"]).says("");
    run(&["merge", dir, "list", "d"]).says("");
    run(&["scan", dir]).says("list\tnew\\td\n");
    run(&["compact", dir]).contains(&["after:  1 tables in 1 levels, 1 rows"]);
    run(&["scan", dir, "--reverse"]).says("list\tnew\\td\n");
    run(&["delete", dir, "list"]).says("");
    run(&["get", dir, "list"]).says_no();
    is_whole(dir.as_ref());
}

#[test]
fn counters_take_numbers() {
    let (_parent, dir) = place();
    let dir = text(&dir);
    run(&["merge", dir, "visits", "--number", "300", "--operator", "counter"]).says("");
    run(&["merge", dir, "visits", "--number", "-45"]).says("");
    run(&["get", "-e", dir, "visits"]).says("\\xff\\x00\\x00\\x00\\x00\\x00\\x00\\x00\n");
    // A counter's operator refuses when it is read; what is wrong with the key is told.
    run(&["merge", dir, "visits", "three"]).says("");
    run(&["get", dir, "visits"]).fails(3, &["merge operator", "visits", "8 bytes"]);
    run(&["stats", dir]).contains(&["merge_operator          tinydb.counter\n", "merge_failures "]);
}

#[test]
fn max_and_min_keep_one_of_the_values() {
    for (operator, want) in [("max", "b\n"), ("min", "a\n")] {
        let (_parent, dir) = place();
        let dir = text(&dir);
        for operand in ["a", "b", "a"] {
            run(&["merge", dir, "k", operand, "--operator", operator]).says("");
        }
        run(&["get", dir, "k"]).says(want);
    }
}

#[test]
fn a_merge_without_the_databases_operator_is_refused() {
    let (_parent, path) = place();
    let dir = text(&path);
    run(&["merge", dir, "k", "v"]).fails(3, &["no merge operator yet", "--operator"]);
    run(&["merge", dir, "k", "v", "--separator", ","]).fails(2, &["--operator"]);
    let both = ["merge", dir, "k", "v", "--number", "1"];
    run(&both).fails(2, &["--number"]);
    let separated = ["merge", dir, "k", "v", "--operator", "max", "--separator", ","];
    run(&separated).fails(3, &["only the operator append"]);
    run(&["merge", dir, "k", "v", "--operator", "max"]).says("");
    run(&["merge", dir, "k", "v", "--operator", "min"])
        .fails(3, &["\"tinydb.min\"", "\"tinydb.max\""]);
    run(&["get", dir, "k"]).says("v\n");
}

#[test]
fn keys_of_somebody_elses_operator_are_carried_along() {
    struct First;
    impl MergeOperator for First {
        fn name(&self) -> &'static str {
            "example.first"
        }

        fn merge(
            &self,
            _: &[u8],
            existing: Option<&[u8]>,
            operand: &[u8],
        ) -> Result<Vec<u8>, MergeError> {
            Ok(existing.unwrap_or(operand).to_vec())
        }
    }
    let (_parent, path) = place();
    let dir = text(&path);
    let db = Options::new().merge_operator(First).open(&path).unwrap();
    db.put("a", "1").and_then(|()| db.merge("k", "2")).and_then(|()| db.merge("k", "3")).unwrap();
    db.close().unwrap();
    run(&["get", dir, "a"]).says("1\n");
    run(&["get", dir, "k"]).fails(3, &["\"k\"", "merge operands"]);
    run(&["merge", dir, "k", "4"]).fails(3, &["\"example.first\"", "none of the library's"]);
    assert_eq!(run(&["compact", dir]).code, Some(0));
    is_whole(&path);
    let db = Options::new().merge_operator(First).open(&path).unwrap();
    assert_eq!(db.get("k").unwrap().unwrap(), "2");
}

#[test]
fn a_dump_shows_operands_and_expiries() {
    let (_parent, path) = place();
    let dir = text(&path);
    let db = Options::new().merge_operator(merge::Append::new(",")).open(&path).unwrap();
    db.put_with_ttl("k", "base", std::time::Duration::from_secs(4_000_000_000)).unwrap();
    db.flush().and_then(|()| db.merge("k", "operand")).and_then(|()| db.flush()).unwrap();
    db.merge("log", "operand").unwrap();
    db.close().unwrap();
    let dump = |start: &str| {
        let dumps = files(&path, start).into_iter().map(|file| run(&["dump", text(&file)]));
        dumps.map(|dump| dump.stdout).collect::<String>()
    };
    let has = |shown: &str, words: &[&str]| {
        shown.lines().any(|line| words.iter().all(|word| line.contains(word)))
    };
    let tables = dump("TABLE-");
    assert!(has(&tables, &["Put", "\"k\" \"base\"", "expires at "]), "{tables}");
    assert!(has(&tables, &["Merge", "\"k\" \"operand\""]), "{tables}");
    let logs = dump("LOG-");
    assert!(has(&logs, &["Merge", "\"log\" \"operand\""]), "{logs}");
    for shown in [logs, dump("MANIFEST-"), tables] {
        assert!(shown.contains("\"tinydb.append(,)\""), "the operator's name: {shown}");
    }
    run(&["get", dir, "k"]).says("base,operand\n");
}
