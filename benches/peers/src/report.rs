//! The report: a table in markdown, and charts.

use std::fmt::Write;
use std::path::Path;

use plotters::prelude::*;

use crate::Arguments;
use crate::run::{Results, Row};

/// The charts: a title, and the starts of the workloads that it shows.
const CHARTS: &[(&str, &[&str])] = &[
    ("gets", &["get", "multi_get"]),
    ("scans", &["seek", "full scan"]),
    ("writes", &["random load, CPU", "single put", "sorted load"]),
];

/// A workload in a line, while the run goes on.
pub fn line(row: &Row, engines: &[String]) -> String {
    let cells = engines
        .iter()
        .zip(&row.medians)
        .map(|(engine, median)| format!("{engine} {}", median.map_or("–".to_owned(), figure)));
    format!("{:<40} {}", row.workload, cells.collect::<Vec<_>>().join(" · "))
}

/// A figure with about three digits.
pub fn figure(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => {
            let digits = format!("{value:.0}");
            let groups: Vec<&str> = digits
                .as_bytes()
                .rchunks(3)
                .rev()
                .map(|it| std::str::from_utf8(it).unwrap())
                .collect();
            groups.join(",")
        }
    }
}

/// The table: the first engine's figure, and for each other one its figure and how many times as
/// much the first one is.
pub fn table(results: &Results) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}, {}. `peers {}`\n", results.machine, results.date, results.command);
    let _ = writeln!(out, "| | {} |", results.engines.join(" | "));
    let _ = writeln!(out, "| --- |{}", " ---: |".repeat(results.engines.len()));
    for row in &results.rows {
        let unit = if row.unit.is_empty() { String::new() } else { format!(", {}", row.unit) };
        let own = row.medians.first().copied().flatten();
        let cells = row.medians.iter().enumerate().map(|(index, median)| match (median, own) {
            (None, _) => "–".to_owned(),
            (Some(median), Some(own)) if index > 0 && *median > 0.0 => {
                format!("{} ({:.2})", figure(*median), own / median)
            }
            (Some(median), _) => figure(*median),
        });
        let _ =
            writeln!(out, "| {}{unit} | {} |", row.workload, cells.collect::<Vec<_>>().join(" | "));
    }
    let _ = writeln!(out, "\nIn brackets: TinyDB's figure as a multiple of this one.\n");
    for (engine, settings) in results.engines.iter().zip(&results.settings) {
        let _ = writeln!(out, "* {engine}: {settings}");
    }
    out
}

/// Prints the table and writes all files.
pub fn write(results: &Results, arguments: &Arguments) {
    let out = &arguments.out;
    std::fs::create_dir_all(out).expect("a directory for the results");
    let table = table(results);
    println!("{table}");
    std::fs::write(out.join("table.md"), &table).expect("a file for the table");
    let json = serde_json::to_string_pretty(results).expect("plain figures");
    std::fs::write(out.join("results.json"), json).expect("a file for the figures");
    for (title, starts) in CHARTS {
        let is_shown = |row: &&Row| starts.iter().any(|start| row.workload.starts_with(start));
        let rows: Vec<&Row> = results.rows.iter().filter(is_shown).collect();
        if !rows.is_empty() {
            chart(&out.join(format!("{title}.svg")), &results.engines, &rows).expect("a chart");
        }
    }
}

/// Bars on a logarithmic scale, a group for each workload and a color for each engine.
fn chart(path: &Path, engines: &[String], rows: &[&Row]) -> Result<(), Box<dyn std::error::Error>> {
    let (wide, high) = (150 * u32::try_from(rows.len())? + 240, 480);
    let root = SVGBackend::new(path, (wide, high)).into_drawing_area();
    root.fill(&WHITE)?;
    let figures = || rows.iter().flat_map(|row| row.medians.iter().copied().flatten());
    let (least, most) = figures().fold((f64::MAX, 1.0_f64), |(a, b), it| (a.min(it), b.max(it)));
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .right_y_label_area_size(160)
        .build_cartesian_2d(0.0..rows.len() as f64, (least / 2.0..most * 2.0).log_scale())?;
    let label = |x: &f64| {
        let row = rows.get(*x as usize).filter(|_| x.fract() == 0.5);
        row.map(|row| format!("{}, {}", row.workload, row.unit)).unwrap_or_default()
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(rows.len() * 2 + 1)
        .x_label_formatter(&label)
        .y_label_formatter(&|value| figure(*value))
        .label_style(("sans-serif", 11))
        .draw()?;
    let width = 0.86 / engines.len() as f64;
    for (index, engine) in engines.iter().enumerate() {
        let color = if index == 0 { RGBColor(200, 40, 40) } else { shade(index) };
        let bars = rows.iter().enumerate().filter_map(|(group, row)| {
            let median = row.medians.get(index).copied().flatten()?;
            let left = group as f64 + 0.07 + width * index as f64;
            let corners = [(left, least / 2.0), (left + width * 0.92, median)];
            Some(Rectangle::new(corners, color.filled()))
        });
        chart
            .draw_series(bars)?
            .label(engine.as_str())
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .label_font(("sans-serif", 11))
        .draw()?;
    root.present()?;
    Ok(())
}

/// Colors that can be told apart beside each other.
fn shade(index: usize) -> RGBColor {
    const SHADES: [RGBColor; 9] = [
        RGBColor(31, 119, 180),
        RGBColor(120, 170, 210),
        RGBColor(255, 140, 30),
        RGBColor(44, 140, 60),
        RGBColor(140, 200, 120),
        RGBColor(120, 80, 170),
        RGBColor(150, 110, 90),
        RGBColor(90, 90, 90),
        RGBColor(170, 170, 170),
    ];
    SHADES[(index - 1) % SHADES.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        Results {
            engines: vec!["TinyDB".into(), "LMDB".into(), "HashMap".into()],
            settings: vec!["default".into(), "NOSYNC".into(), "none".into()],
            rows: vec![Row {
                workload: "get".into(),
                unit: "ns".into(),
                medians: vec![Some(500.0), Some(2_000.0), None],
                ranges: vec![Some((450.0, 550.0)), Some((1_900.0, 2_100.0)), None],
            }],
            ..Results::default()
        }
    }

    #[test]
    fn a_table_gives_figures_and_ratios() {
        let table = table(&results());
        assert!(table.contains("| | TinyDB | LMDB | HashMap |"), "{table}");
        assert!(table.contains("| get, ns | 500 | 2,000 (0.25) | – |"), "{table}");
        assert!(table.contains("* LMDB: NOSYNC"), "{table}");
    }

    #[test]
    fn figures_have_about_three_digits() {
        let cases = [(0.123, "0.12"), (9.99, "9.99"), (12.34, "12.3"), (1_234_567.0, "1,234,567")];
        for (value, want) in cases {
            assert_eq!(figure(value), want);
        }
    }

    #[test]
    fn a_chart_is_drawn() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gets.svg");
        let results = results();
        let rows: Vec<&Row> = results.rows.iter().collect();
        chart(&path, &results.engines, &rows).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("<svg") && text.contains("LMDB"));
    }
}
