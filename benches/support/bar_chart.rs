//! A picture of horizontal bars.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const WIDTH: u32 = 760;
const TITLE_HEIGHT: i32 = 64;
const BAR_HEIGHT: i32 = 24;
const BAR_SPACING: i32 = 40;
/// Where the bars begin, and how long the longest one is.
const LEFT: i32 = 250;
const LONGEST: f64 = 350.0;

const INK: RGBColor = RGBColor(40, 40, 40);

/// One bar.
pub(crate) struct Bar {
    /// What stands before it.
    pub(crate) name: String,
    /// What it shows.
    pub(crate) value: f64,
    /// What stands behind it.
    pub(crate) label: String,
    /// Whether it is one of those that the picture is about.
    pub(crate) ours: bool,
}

/// Draws `bars` below `title` and `subtitle` into the SVG file `path`.
pub(crate) fn draw(
    path: &Path,
    title: &str,
    subtitle: &str,
    bars: &[Bar],
) -> Result<(), Box<dyn Error>> {
    let rows = i32::try_from(bars.len())?;
    let height = u32::try_from(TITLE_HEIGHT + rows * BAR_SPACING + BAR_HEIGHT / 2)?;
    let area = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let text = |size: i32| ("sans-serif", size).into_font().color(&INK);
    area.draw_text(title, &text(18), (16, 12))?;
    area.draw_text(subtitle, &text(12), (16, 38))?;
    let longest = bars
        .iter()
        .map(|bar| bar.value)
        .fold(f64::MIN_POSITIVE, f64::max);
    let mut top = TITLE_HEIGHT;
    for bar in bars {
        let middle = top + BAR_HEIGHT / 2;
        let right = LEFT + (bar.value / longest * LONGEST).ceil() as i32;
        let color = if bar.ours {
            RGBColor(38, 120, 178)
        } else {
            RGBColor(170, 170, 170)
        };
        area.draw(&Rectangle::new(
            [(LEFT, top), (right, top + BAR_HEIGHT)],
            color.filled(),
        ))?;
        let before = text(14).pos(Pos::new(HPos::Right, VPos::Center));
        area.draw_text(&bar.name, &before, (LEFT - 10, middle))?;
        let behind = text(14).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw_text(&bar.label, &behind, (right + 8, middle))?;
        top += BAR_SPACING;
    }
    area.present()?;
    Ok(())
}
