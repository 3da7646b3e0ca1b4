//! The process that the demo kills, and the hand that kills it.
//!
//! The child writes a batch for each line that it is sent and answers each with how many records
//! are acknowledged. So the parent knows what must survive, and that the child can't be done before
//! the signal reaches it.
//!
//! Spec: none. I/O: a child process and pipes to it; the database through the library.
//! Unsafe: none.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tinydb::WriteBatch;

use crate::{Answer, Outcome, open_existing, progress};

/// The hidden verb that makes this program the child.
pub(crate) const NAME: &str = "demo-child";

/// The signal that can't be caught.
const SIGKILL: i32 = 9;

/// Batches that the child may write unasked while the signal is on its way.
const LAST_BATCHES: usize = 4;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    dir: PathBuf,
}

/// Writes the demo's records, a batch for each line of standard input.
pub(crate) fn run(args: &Args) -> Outcome {
    let records = super::records()?;
    let db = open_existing(&args.dir)?;
    let mut acked = 0;
    let mut batch = WriteBatch::new();
    let mut go_on = io::stdin().lock().lines();
    for chunk in records.chunks(super::BATCH as usize) {
        if go_on.next().transpose()?.is_none() {
            return Ok(Answer::No); // the parent is gone
        }
        batch.clear();
        for record in chunk {
            batch.put(&record.key, &record.value);
        }
        db.write_with(&batch, tinydb::Durability::Sync)?;
        acked += chunk.len();
        println!("{acked}");
    }
    Ok(Answer::Yes)
}

/// Lets a child write half of the records, kills it in the middle of a batch, and returns how many
/// records it had acknowledged.
pub(super) fn write_until_killed(dir: &Path, count: usize) -> Outcome<usize> {
    let mut child = Command::new(env::current_exe()?)
        .arg(NAME)
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (go_on, acks) = (child.stdin.take(), child.stdout.take());
    let (Some(mut go_on), Some(acks)) = (go_on, acks) else {
        return Err("the child has no pipes".into());
    };
    let mut acks = BufReader::new(acks).lines();
    let bar = progress::rows(count);
    let mut acked = 0;
    while acked < count / 2 {
        go_on.write_all(b"\n")?;
        let Some(ack) = acks.next().transpose()? else {
            return Err(format!("the writing process ended by itself: {}", child.wait()?).into());
        };
        acked = ack.parse()?;
        bar.set_position(acked as u64);
    }
    go_on.write_all(&[b'\n'; LAST_BATCHES])?;
    // One more acknowledgement, and the child is inside of the next batch.
    if let Some(ack) = acks.next().transpose()? {
        acked = ack.parse()?;
    }
    child.kill()?;
    let status = child.wait()?;
    bar.finish_and_clear();
    if status.signal() != Some(SIGKILL) {
        return Err(format!("the writing process was not killed: {status}").into());
    }
    // What it said before it died counts as well.
    for ack in acks.map_while(Result::ok) {
        acked = ack.parse()?;
    }
    Ok(acked)
}
