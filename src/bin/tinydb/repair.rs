//! `tinydb repair DIR`: makes a damaged database one that opens, and tells what it took.
//!
//! Spec: none. I/O: standard output; the database through the library. Unsafe: none.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use tinydb::{Db, Finding, RepairReport};

use crate::{Answer, Outcome, progress};

/// Make a damaged database one that opens; exit code 1 if something is lost or in doubt
///
/// Deletes nothing: what can't be used is moved into damaged/ in the database's directory. Prints a line
/// for each file that was kept or set aside, and for each thing that is lost or in doubt, with tabs
/// between its parts; then what was done.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The database's directory
    dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let bar = progress::spinner("reading every file");
    let report = Db::repair(&args.dir);
    bar.finish_and_clear();
    let report = report?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", object(&report))?;
    } else {
        print(&mut out, &report)?;
    }
    out.flush()?;
    Ok(if report.is_complete() { Answer::Yes } else { Answer::No })
}

fn print(out: &mut impl Write, report: &RepairReport) -> io::Result<()> {
    for file in report.kept() {
        let (path, count) = (file.path.display(), file.count);
        let made = if file.is_new { "made" } else { "kept" };
        match file.level {
            Some(level) => writeln!(out, "{made}\t{path}\tlevel {level}\t{count} rows")?,
            None => writeln!(out, "{made}\t{path}\tlog\t{count} batches")?,
        }
    }
    for file in report.set_aside() {
        let (path, moved_to) = (file.path.display(), file.moved_to.display());
        writeln!(out, "set aside\t{path}\t{}\t{}\t{moved_to}", file.offset, file.rule)?;
    }
    for (word, findings) in [("lost", report.losses()), ("doubt", report.doubts())] {
        for Finding { path, text, .. } in findings {
            writeln!(out, "{word}\t{}\t{text}", path.display())?;
        }
    }
    match (report.manifest(), report.source()) {
        (Some(new), Some(old)) => {
            writeln!(out, "{} was made from {}", new.display(), old.display())
        }
        (Some(new), None) => writeln!(out, "{} was made from the tables alone", new.display()),
        (None, _) if report.is_healthy() => writeln!(out, "nothing is wrong, nothing was changed"),
        (None, _) => writeln!(out, "the database itself is whole"),
    }
}

fn object(report: &RepairReport) -> Json {
    let path = |path: &Path| Json::from(path.display().to_string());
    let findings = |findings: &[Finding]| -> Json {
        findings.iter().map(|it| json!({"path": path(&it.path), "text": it.text})).collect()
    };
    let kept = report.kept().iter().map(|file| {
        json!({
            "path": path(&file.path),
            "level": file.level,
            "count": file.count,
            "is_new": file.is_new,
        })
    });
    let set_aside = report.set_aside().iter().map(|file| {
        json!({
            "path": path(&file.path),
            "moved_to": path(&file.moved_to),
            "offset": file.offset,
            "rule": file.rule,
        })
    });
    json!({
        "is_healthy": report.is_healthy(),
        "is_complete": report.is_complete(),
        "manifest": report.manifest().map(path),
        "source": report.source().map(path),
        "last_seqno": report.last_seqno(),
        "kept": kept.collect::<Json>(),
        "set_aside": set_aside.collect::<Json>(),
        "losses": findings(report.losses()),
        "doubts": findings(report.doubts()),
    })
}
