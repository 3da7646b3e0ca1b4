//! A merge operator that some operands make fail or panic, and what a database must show then.

use std::collections::BTreeMap;
use std::sync::{Arc, Once};

use tinydb::internals::SimDisk;
use tinydb::{Db, Error, MergeError, MergeOperator, Options};

/// An operand that begins with this byte makes the operator fail.
const FAILS: u8 = 0xEE;
/// And with this one, panic.
const PANICS: u8 = 0xDD;
/// What it says then, so that this panic alone is not a finding.
const REASON: &str = "an operand that panics";

/// Puts one operand behind the other.
struct Moody;

impl MergeOperator for Moody {
    fn name(&self) -> &'static str {
        "moody"
    }

    fn merge(
        &self,
        _: &[u8],
        existing: Option<&[u8]>,
        operand: &[u8],
    ) -> Result<Vec<u8>, MergeError> {
        match operand.first() {
            Some(&FAILS) => Err(MergeError::new("an operand that fails")),
            Some(&PANICS) => std::panic::panic_any(REASON),
            _ => Ok([existing.unwrap_or_default(), operand].concat()),
        }
    }
}

/// Opens a database whose operator fails now and then, on a simulated disk.
#[must_use]
pub fn open_moody(disk: &SimDisk) -> Db {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&REASON) {
                loud(info);
            }
        }));
    });
    let options = Options::new()
        .background_threads(0)
        .memtable_size(64 << 10)
        .block_size(1 << 10)
        .merge_operator(Moody);
    Db::open_on(Arc::new(disk.clone()), options).expect("a healthy disk opens")
}

/// What was written of each key: its parts, oldest first, and whether the first is a value.
#[derive(Debug, Default)]
pub struct MoodyModel(BTreeMap<Vec<u8>, (bool, Vec<Vec<u8>>)>);

impl MoodyModel {
    /// The key has this value.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.0.insert(key.to_vec(), (true, vec![value.to_vec()]));
    }

    /// The key has one more operand.
    pub fn merge(&mut self, key: &[u8], operand: &[u8]) {
        self.0.entry(key.to_vec()).or_default().1.push(operand.to_vec());
    }

    /// The key is absent.
    pub fn delete(&mut self, key: &[u8]) {
        self.0.remove(key);
    }

    /// What a read gives: an error if an operand is one of those that fail.
    fn shown((has_value, parts): &(bool, Vec<Vec<u8>>)) -> Option<Vec<u8>> {
        let fails = |part: &Vec<u8>| matches!(part.first(), Some(&FAILS | &PANICS));
        let operands = parts.iter().skip(usize::from(*has_value));
        (!operands.clone().any(fails)).then(|| parts.concat())
    }

    /// Compares all that a database shows: each key by itself, and a scan up to the first failure.
    pub fn check(&self, db: &Db) {
        for (key, known) in &self.0 {
            match (db.get(key), Self::shown(known)) {
                (Ok(Some(value)), Some(want)) => assert_eq!(value, want, "{key:?}"),
                (Err(Error::Merge { .. }), None) => {}
                (got, want) => panic!("{key:?}: {got:?}, {want:?} expected"),
            }
        }
        let mut entries = db.iter();
        for (key, known) in &self.0 {
            let (entry, want) = (entries.next(), Self::shown(known));
            let Some(want) = want else {
                assert!(matches!(entry, Some(Err(Error::Merge { .. }))), "{key:?}: {entry:?}");
                break;
            };
            let entry = entry.expect("a key that was written").expect("a value");
            assert!(entry.key() == key && entry.value() == want, "{entry:?}");
        }
        assert!(entries.next().is_none());
    }
}
