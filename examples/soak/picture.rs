//! The picture of a soak: panels over time, one below the other.

use std::error::Error;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::faults::{Fault, Incident};
use crate::ledger::Delivery;
use crate::samples::{Sample, Usage};

const SIZE: (u32, u32) = (760, 780);
const TITLE_HEIGHT: u32 = 60;
const FAULTS_HEIGHT: u32 = 142;
const PANEL_TITLE: i32 = 18;
const LEFT: u32 = 48;
const RIGHT: u32 = 150;

const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);
const COLORS: [RGBColor; 5] = [
    RGBColor(38, 120, 178),
    RGBColor(220, 130, 30),
    RGBColor(60, 150, 80),
    RGBColor(150, 80, 170),
    RGBColor(120, 120, 120),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One line of a panel: its name, and its value at each minute.
type Line = (&'static str, Vec<(f64, f64)>);

/// What a picture shows.
pub(crate) struct Picture<'a> {
    pub(crate) title: &'a str,
    pub(crate) subtitle: &'a str,
    /// The names of the processes that the samples are about.
    pub(crate) watched: &'a [&'static str],
    pub(crate) samples: &'a [Sample],
    pub(crate) incidents: &'a [Incident],
}

impl Picture<'_> {
    /// Draws it into the SVG file `path`.
    pub(crate) fn draw(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let (Some(first), Some(last)) = (self.samples.first(), self.samples.last()) else {
            return Err("there are no samples".into());
        };
        let minute = |at: Instant| at.saturating_duration_since(first.at).as_secs_f64() / 60.0;
        let time = 0.0..minute(last.at);

        let picture = SVGBackend::new(path, SIZE).into_drawing_area();
        picture.fill(&WHITE)?;
        picture.draw_text(self.title, &text(18), (16, 12))?;
        picture.draw_text(self.subtitle, &text(12), (16, 38))?;
        let (_, body) = picture.split_vertically(TITLE_HEIGHT);
        let (panels, faults) = body.split_vertically(SIZE.1 - TITLE_HEIGHT - FAULTS_HEIGHT);
        let panels = panels.split_evenly((4, 1));
        panel(&panels[0], "jobs a second", &time, &rates(self.samples))?;
        let memory = self.lines(|usage| usage.rss_bytes as f64 / f64::from(1 << 20));
        panel(&panels[1], "resident memory, MiB", &time, &memory)?;
        let threads = self.lines(|usage| usage.threads as f64);
        panel(&panels[2], "threads", &time, &threads)?;
        let sockets = self.lines(|usage| usage.sockets as f64);
        panel(&panels[3], "sockets", &time, &sockets)?;
        let spans: Vec<_> = self
            .incidents
            .iter()
            .map(|incident| (incident.fault, minute(incident.from)..minute(incident.to)))
            .collect();
        fault_rows(&faults, &time, &spans)?;
        picture.present()?;
        Ok(())
    }

    /// A line for each process, of the median over ten samples each.
    fn lines(&self, value: fn(&Usage) -> f64) -> Vec<Line> {
        let start = self.samples[0].at;
        let line = |process: usize| {
            self.samples
                .chunks(SPAN)
                .map(|span| {
                    let minute = (span[0].at - start).as_secs_f64() / 60.0;
                    let mut values: Vec<f64> = span
                        .iter()
                        .map(|sample| value(&sample.usage[process]))
                        .collect();
                    values.sort_unstable_by(f64::total_cmp);
                    (minute, values[values.len() / 2])
                })
                .collect()
        };
        let names = self.watched.iter().enumerate();
        names
            .map(|(process, name)| (*name, line(process)))
            .collect()
    }
}

/// How many samples are one point of a line.
const SPAN: usize = 10;

/// Deliveries a second, over ten samples each.
fn rates(samples: &[Sample]) -> Vec<Line> {
    let start = samples[0].at;
    let rate = |number: usize| {
        samples
            .windows(SPAN + 1)
            .step_by(SPAN)
            .map(|window| {
                let (from, to) = (&window[0], &window[SPAN]);
                let seconds = (to.at - from.at).as_secs_f64();
                let jobs = to.delivered[number] - from.delivered[number];
                let minute = (to.at - start).as_secs_f64() / 60.0;
                (minute, jobs as f64 / seconds)
            })
            .collect()
    };
    Delivery::ALL
        .map(|delivery| (delivery.name(), rate(delivery as usize)))
        .into()
}

/// Lines over time, from 0 up.
fn panel(
    area: &Area<'_>,
    unit: &str,
    time: &Range<f64>,
    lines: &[Line],
) -> Result<(), Box<dyn Error>> {
    let values = lines.iter().flat_map(|(_, points)| points);
    let highest = values.map(|(_, value)| *value).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin_top(PANEL_TITLE)
        .margin_right(RIGHT)
        .x_label_area_size(20)
        .y_label_area_size(LEFT)
        .build_cartesian_2d(time.clone(), 0.0..highest * 1.1)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .y_labels(4)
        .label_style(text(11))
        .x_label_formatter(&|minute| format!("{minute:.0}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .draw()?;
    area.draw_text(unit, &text(11), (LEFT as i32, 0))?;
    for (row, ((name, points), color)) in (0..).zip(lines.iter().zip(COLORS)) {
        chart.draw_series(LineSeries::new(
            points.iter().copied(),
            color.stroke_width(1),
        ))?;
        let place = ((SIZE.0 - RIGHT + 12) as i32, PANEL_TITLE + row * 18);
        area.draw_text(name, &text(12).color(&color), place)?;
    }
    Ok(())
}

/// A row for each kind of fault, with a bar for as long as it lasted.
fn fault_rows(
    area: &Area<'_>,
    time: &Range<f64>,
    spans: &[(Fault, Range<f64>)],
) -> Result<(), Box<dyn Error>> {
    const ROW: i32 = 22;
    let width = f64::from(SIZE.0 - LEFT - RIGHT);
    let x = |minute: f64| LEFT as i32 + (minute / time.end * width) as i32;
    area.draw_text("minutes", &text(11), ((SIZE.0 - RIGHT + 12) as i32, -18))?;
    for (row, fault) in (0..).zip(Fault::ALL) {
        let top = 20 + row * ROW;
        area.draw(&PathElement::new(
            [(x(0.0), top + ROW / 2), (x(time.end), top + ROW / 2)],
            GRID,
        ))?;
        for (_, span) in spans.iter().filter(|(kind, _)| *kind == fault) {
            let (from, to) = (
                x(span.start),
                x(span.end.min(time.end)).max(x(span.start) + 1),
            );
            let bar = [(from, top + 4), (to, top + ROW - 4)];
            area.draw(&Rectangle::new(bar, RGBColor(190, 60, 50).filled()))?;
        }
        let label = text(12).pos(Pos::new(HPos::Left, VPos::Center));
        let place = ((SIZE.0 - RIGHT + 12) as i32, top + ROW / 2);
        area.draw_text(fault.name(), &label, place)?;
    }
    Ok(())
}

fn text(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}
