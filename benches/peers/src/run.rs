//! The run: which engine does what when, and what came of it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Serialize;

use crate::Arguments;
use crate::measure;
use crate::report;
use crate::work::{Answer, ENGINES, WORKLOADS};

/// The figures of a run.
#[derive(Debug, Default, Serialize)]
pub struct Results {
    pub machine: String,
    pub date: String,
    pub command: String,
    pub engines: Vec<String>,
    pub settings: Vec<String>,
    pub rows: Vec<Row>,
}

/// One workload: a median for each engine.
#[derive(Debug, Serialize)]
pub struct Row {
    pub workload: String,
    pub unit: String,
    pub medians: Vec<Option<f64>>,
    /// The least and the largest of all rounds.
    pub ranges: Vec<Option<(f64, f64)>>,
}

/// The process of one engine.
struct Worker {
    child: Child,
    /// `None` once it has ended.
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    name: String,
}

impl Worker {
    fn start(name: &str, arguments: &Arguments) -> Self {
        let number = |value: u64| value.to_string();
        let keys = clap::ValueEnum::to_possible_value(&arguments.keys).expect("a name");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--worker", name, "--keys", keys.get_name()]);
        command.args(["--rows", &number(arguments.rows.into()), "--seed", &number(arguments.seed)]);
        command.args(["--value-len", &number(arguments.value_len as u64)]);
        command.args(["--reads", &number(arguments.reads as u64)]);
        if let Some(dir) = &arguments.dir {
            command.arg("--dir").arg(dir);
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, requests, answers, name: name.to_owned() }
    }

    /// Asks for a round of a workload. A worker that has ended, as one does where memory is short and
    /// its engine takes more, has no figure from then on.
    fn ask(&mut self, workload: &str, round: u32) -> Answer {
        let Some(requests) = &mut self.requests else { return Answer::default() };
        let asked = writeln!(requests, "{round} {workload}").and(requests.flush());
        let mut line = String::new();
        let answered = asked.and_then(|()| self.answers.read_line(&mut line));
        if let Ok(1..) = answered {
            return serde_json::from_str(&line).expect("an answer");
        }
        eprintln!("{} ended in {workload:?}: {answered:?}", self.name);
        self.requests = None;
        Answer::default()
    }
}

/// Runs everything that the arguments ask for, prints the table and writes the files.
pub fn run(arguments: &Arguments) {
    let engines: Vec<&str> = match arguments.engines.as_slice() {
        [] => ENGINES.to_vec(),
        names => names
            .iter()
            .map(|name| {
                let is_it =
                    |engine: &&&str| engine.to_lowercase().starts_with(&name.to_lowercase());
                *ENGINES.iter().find(is_it).unwrap_or_else(|| panic!("no engine {name:?}"))
            })
            .collect(),
    };
    let mut workers: Vec<Worker> =
        engines.iter().map(|engine| Worker::start(engine, arguments)).collect();
    let mut results = Results {
        machine: measure::machine(),
        date: date(),
        command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        engines: engines.iter().map(ToString::to_string).collect(),
        ..Results::default()
    };
    for (workload, unit, is_once) in WORKLOADS {
        let is_needed = matches!(*workload, "random load, CPU" | "settle");
        let wanted = &arguments.workloads;
        let is_wanted = wanted.is_empty() || wanted.iter().any(|it| workload.starts_with(it));
        if !is_wanted && !is_needed {
            continue;
        }
        let rounds = if *is_once { 1 } else { arguments.rounds };
        let mut figures: Vec<Vec<f64>> = vec![Vec::new(); workers.len()];
        for round in 0..rounds {
            for (worker, figures) in workers.iter_mut().zip(&mut figures) {
                let answer = worker.ask(workload, round);
                figures.extend(answer.figure);
                if results.settings.len() < engines.len() {
                    results.settings.extend(answer.settings);
                }
            }
        }
        let row = Row {
            workload: (*workload).to_owned(),
            unit: (*unit).to_owned(),
            medians: figures.iter_mut().map(|figures| median(figures)).collect(),
            ranges: figures.iter().map(|it| Some((*it.first()?, *it.last()?))).collect(),
        };
        eprintln!("{}", report::line(&row, &results.engines));
        results.rows.push(row);
    }
    report::write(&results, arguments);
    for mut worker in workers {
        let has_answered = worker.requests.take().is_some();
        let status = worker.child.wait().expect("an end");
        assert!(has_answered && status.success(), "{} ended too early: {status}", worker.name);
    }
}

/// The median; sorts the figures.
pub fn median(figures: &mut [f64]) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

fn date() -> String {
    let date = Command::new("date").arg("+%Y-%m-%d").output();
    date.map(|date| String::from_utf8_lossy(&date.stdout).trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_of_the_sorted() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [5.0]), Some(5.0));
        assert_eq!(median(&mut []), None);
    }
}
