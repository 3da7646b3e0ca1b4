//! What the demo finds in the database, compared with what was written.
//!
//! Spec: none. I/O: the database through the library. Unsafe: none.

use tinydb::{Cursor, Db, Result, Snapshot};

use super::report::Timings;
use crate::records::Record;

/// How many records survived the kill, and what is wrong with them: every acknowledged one must
/// be there, and whatever is there must be a prefix of what was written, in whole batches.
pub(super) fn survivors(
    snapshot: &Snapshot,
    records: &[Record],
    acked: usize,
) -> Result<(usize, Vec<String>)> {
    let mut present = Vec::with_capacity(records.len());
    for record in records {
        let value = snapshot.get(&record.key)?;
        present.push(value.map(|value| value == record.value));
    }
    let survived = present.iter().take_while(|state| state.is_some()).count();
    let mut faults = Vec::new();
    let mut expect = |holds: bool, fault: String| faults.extend((!holds).then_some(fault));
    let different = present.iter().filter(|state| **state == Some(false)).count();
    expect(different == 0, format!("{different} survivors have another value"));
    expect(survived >= acked, format!("only {survived} of {acked} acknowledged records survived"));
    let behind = present.iter().skip(survived).filter(|state| state.is_some()).count();
    expect(
        behind == 0,
        format!("{behind} records survived behind record {survived}, which did not"),
    );
    let batch = super::BATCH as usize;
    let is_whole = survived % batch == 0 || survived == records.len();
    expect(is_whole, format!("{survived} survivors are no whole number of batches of {batch}"));
    Ok((survived, faults))
}

/// Reads everything in every way, and says what differs from `records`.
pub(super) fn read_back(db: &Db, records: &[Record], timings: &mut Timings) -> Result<Vec<String>> {
    let mut sorted: Vec<&Record> = records.iter().collect();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    let absent: Vec<Vec<u8>> =
        records.iter().map(|record| [record.key.as_slice(), b"?"].concat()).collect();
    let snapshot = db.snapshot();
    let count = records.len();

    let differing = [
        timings.measure("get, present key", count, || {
            count_if(records, |it| Ok(snapshot.get(&it.key)?.is_none_or(|v| v != it.value)))
        }),
        timings.measure("get, absent key", count, || {
            count_if(&absent, |key| Ok(snapshot.get(key)?.is_some()))
        }),
        timings.measure("scan", count, || {
            let mut cursor = snapshot.cursor();
            cursor.seek_first()?;
            differing(sorted.iter(), &mut cursor, Cursor::next)
        }),
        timings.measure("reverse scan", count, || {
            let mut cursor = snapshot.cursor();
            cursor.seek_last()?;
            differing(sorted.iter().rev(), &mut cursor, Cursor::prev)
        }),
    ];
    let names = ["records by key", "absent keys", "records by scan", "records by reverse scan"];
    let mut faults = Vec::new();
    for (name, differing) in names.iter().zip(differing) {
        match differing? {
            0 => {}
            differing => faults.push(format!("{differing} {name} differ")),
        }
    }
    Ok(faults)
}

fn count_if<T>(items: &[T], differs: impl Fn(&T) -> Result<bool>) -> Result<usize> {
    items.iter().try_fold(0, |count, item| Ok(count + usize::from(differs(item)?)))
}

/// Walks the cursor and the records side by side; a row too many differs as well.
fn differing<'r, 's>(
    records: impl Iterator<Item = &'r &'r Record>,
    cursor: &mut Cursor<'s>,
    advance: impl Fn(&mut Cursor<'s>) -> Result<bool>,
) -> Result<usize> {
    let mut count = 0;
    for record in records {
        let is_same =
            cursor.valid() && cursor.key() == record.key && cursor.value() == record.value;
        count += usize::from(!is_same);
        advance(cursor)?;
    }
    Ok(count + usize::from(cursor.valid()))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tinydb::WriteBatch;

    use super::*;

    fn records(count: usize) -> Vec<Record> {
        let bytes = |number: usize| format!("{number:04}").into_bytes();
        (0..count).map(|number| Record { key: bytes(number), value: bytes(number * 2) }).collect()
    }

    fn filled(records: &[Record]) -> (TempDir, Db) {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path().join("db")).unwrap();
        let mut batch = WriteBatch::new();
        for record in records {
            batch.put(&record.key, &record.value);
        }
        db.write(&batch).unwrap();
        (dir, db)
    }

    #[track_caller]
    fn check_survivors(present: &[Record], acked: usize, want: (usize, &[&str])) {
        let (_dir, db) = filled(present);
        let (survived, faults) = survivors(&db.snapshot(), &records(250), acked).unwrap();
        assert_eq!(survived, want.0, "{faults:?}");
        assert_eq!(faults.len(), want.1.len(), "{faults:?}");
        assert!(
            faults.iter().zip(want.1).all(|(fault, words)| fault.contains(words)),
            "{faults:?}"
        );
    }

    #[test]
    fn survivors_are_a_prefix_of_whole_batches_with_all_that_was_acknowledged() {
        let all = records(250);
        check_survivors(&all[..200], 200, (200, &[]));
        check_survivors(&all[..200], 100, (200, &[]));
        check_survivors(&all, 200, (250, &[]));
        check_survivors(&[], 0, (0, &[]));
        check_survivors(&all[..100], 200, (100, &["only 100 of 200"]));
        check_survivors(&all[..150], 100, (150, &["whole number of batches"]));
        check_survivors(&[&all[..100], &all[200..]].concat(), 100, (100, &["50 records survived"]));
        let mut changed = all[..200].to_vec();
        changed[7].value.push(b'!');
        check_survivors(&changed, 200, (200, &["1 survivors have another value"]));
    }

    #[track_caller]
    fn check_read_back(present: &[Record], want: &[&str]) {
        let (_dir, db) = filled(present);
        let faults = read_back(&db, &records(100), &mut Timings::default()).unwrap();
        assert_eq!(faults, want);
    }

    #[test]
    fn every_difference_is_seen() {
        let all = records(100);
        check_read_back(&all, &[]);
        let mut changed = all.clone();
        changed[50].value.clear();
        let one =
            "1 records by key differ,1 records by scan differ,1 records by reverse scan differ";
        check_read_back(&changed, &one.split(',').collect::<Vec<_>>());
        let last =
            "1 records by key differ,1 records by scan differ,100 records by reverse scan differ";
        check_read_back(&all[..99], &last.split(',').collect::<Vec<_>>());
        let more = Record { key: b"0099?".to_vec(), value: vec![] };
        let absent =
            "1 absent keys differ,1 records by scan differ,101 records by reverse scan differ";
        check_read_back(&[&all[..], &[more]].concat(), &absent.split(',').collect::<Vec<_>>());
    }
}
