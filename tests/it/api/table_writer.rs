//! The writer of tables outside of a database: which rows it takes, and what it leaves.

use std::fs;

use tinydb::{Db, Error, Options, Result, TableInfo, TableWriter};

use super::{check_error, describe, names_in};

/// Writes these keys in this order, each that is refused by an error of this name.
#[track_caller]
fn check_put(writer: &mut TableWriter, key: &str, refused: Option<&str>) {
    let put = writer.put(key, "value");
    match refused {
        None => put.unwrap(),
        Some(name) => check_error(put, name),
    }
}

#[test]
fn keys_ascend_and_a_row_that_is_refused_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table");
    let mut writer = TableWriter::create(&path, &Options::new()).unwrap();
    let order = Some("InvalidArgument");
    for (key, refused) in [
        ("", None),
        ("", order),
        ("b", None),
        ("b", order),
        ("a", order),
        ("", order),
        ("b\0", None),
        ("ab", order),
        ("c", None),
    ] {
        check_put(&mut writer, key, refused);
    }
    check_error(writer.put(vec![b'd'; 65_536], ""), "KeyTooLarge { len: 65536 }");
    let said = describe(writer.put(vec![b'a'; 60_000], ""));
    assert!(said.contains("aaa") && said.len() < 300, "{said}");
    writer.put(vec![b'd'; 65_535], "").unwrap();
    let TableInfo { row_count, smallest, largest, file_len, path: written, .. } =
        writer.finish().unwrap();
    assert_eq!((row_count, smallest, largest), (5, Vec::new(), vec![b'd'; 65_535]));
    assert_eq!(file_len, fs::metadata(&path).unwrap().len());
    assert_eq!(fs::canonicalize(written).unwrap(), fs::canonicalize(&path).unwrap());

    let db = Db::open(dir.path().join("db")).unwrap();
    db.ingest(&[path]).unwrap();
    let keys: Vec<_> = db.iter().map(|entry| entry.unwrap().key().to_vec()).collect();
    assert_eq!(keys, [&b""[..], b"b", b"b\0", b"c", &vec![b'd'; 65_535]]);
}

#[test]
fn the_file_is_there_when_it_is_finished_and_never_replaces_another() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table");
    let start = |path| -> Result<TableWriter> {
        let mut writer = TableWriter::create(path, &Options::new())?;
        writer.put("key", "value").map(|()| writer)
    };
    let (first, second, dropped) = (start(&path), start(&path), start(&path));
    assert!(!path.exists());
    drop(dropped);
    let info = first.unwrap().finish().unwrap();
    assert_eq!(info.row_count, 1);
    let bytes = fs::read(&path).unwrap();
    check_error(second.unwrap().finish(), "AlreadyExists");
    check_error(start(&path), "AlreadyExists");
    assert!(fs::read(&path).unwrap() == bytes);
    assert_eq!(names_in(dir.path()), ["table"]);
}

#[test]
fn a_table_without_rows_is_no_table() {
    let dir = tempfile::tempdir().unwrap();
    let writer = TableWriter::create(dir.path().join("table"), &Options::new()).unwrap();
    check_error(writer.finish(), "InvalidArgument");
    assert_eq!(names_in(dir.path()).len(), 0);
}

#[test]
fn what_can_not_be_begun_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table");
    check_error(TableWriter::create(&path, &Options::new().block_size(1_000)), "InvalidArgument");
    check_error(TableWriter::create(path.join("below"), &Options::new()), "Io { op: \"create\"");
    assert_eq!(names_in(dir.path()).len(), 0);
}

#[test]
fn after_a_failed_write_every_call_gives_its_error() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let mut writer = TableWriter::create(folder.join("table"), &Options::new()).unwrap();
    // The first long values wait in memory; the file that they go to then has no place.
    fs::remove_dir_all(&folder).unwrap();
    let value = vec![b'v'; 1 << 20];
    let put = |writer: &mut TableWriter, number: u32| writer.put(format!("{number:03}"), &value);
    let failed = (0..100).find_map(|number| put(&mut writer, number).err());
    assert!(matches!(failed, Some(Error::Io { op: "create", .. })), "{failed:?}");
    check_error(put(&mut writer, 200), "Io { op: \"create\"");
    assert!(format!("{writer:?}").contains("row_count: 0"));
    check_error(writer.finish(), "Io { op: \"create\"");
}
