//! A board as a picture: SVG that needs no script. Colours work on light and on dark ground; text takes the page's.

use plotters::prelude::*;

use crate::api::board::Board;
use crate::model::time::Timestamp;

/// Size of the picture.
const SIZE: (u32, u32) = (960, 340);
/// Colours of the series, in their order; also in the legend.
const COLOURS: [RGBColor; 8] = [
    RGBColor(59, 130, 246),
    RGBColor(16, 163, 127),
    RGBColor(217, 119, 6),
    RGBColor(147, 97, 230),
    RGBColor(14, 165, 190),
    RGBColor(219, 72, 138),
    RGBColor(132, 153, 30),
    RGBColor(120, 130, 150),
];
const GREY: RGBColor = RGBColor(128, 128, 128);
const RED: RGBColor = RGBColor(220, 53, 53);

/// The colour of the series with this place, as `#rrggbb`.
pub fn colour(place: usize) -> String {
    hex(COLOURS[place % COLOURS.len()])
}

/// The colour of a kind of marker.
pub fn marker_colour(kind: &str) -> String {
    hex(marker(kind))
}

fn hex(c: RGBColor) -> String {
    format!("#{:02x}{:02x}{:02x}", c.0, c.1, c.2)
}

fn marker(kind: &str) -> RGBColor {
    match kind {
        "fired" => RED,
        "paged" => RGBColor(217, 119, 6),
        "healed" => RGBColor(16, 163, 127),
        "resolved" => RGBColor(22, 140, 60),
        _ => RGBColor(147, 97, 230),
    }
}

/// Draws a board; empty text if it cannot be drawn.
pub fn svg(board: &Board) -> String {
    let mut out = String::new();
    match draw(board, &mut out) {
        Ok(()) => out,
        Err(error) => {
            tracing::warn!(metric = %board.metric, %error, "Chart not drawn.");
            String::new()
        }
    }
}

/// The least and the greatest value to show, with some air.
fn range(board: &Board) -> (f64, f64) {
    let points = board.series.iter().flat_map(|s| &s.points).map(|p| p.1);
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for v in points.chain(board.threshold).filter(|v| v.abs() < 1e300) {
        (low, high) = (low.min(v), high.max(v));
    }
    if low > high {
        return (0.0, 1.0);
    }
    if low > 0.0 && low < high * 0.5 {
        low = 0.0;
    }
    let air = ((high - low) * 0.08).max(high.abs() * 1e-6).max(1e-9);
    (if low == 0.0 { 0.0 } else { low - air }, high + air)
}

fn draw(board: &Board, out: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let (low, high) = range(board);
    let root = SVGBackend::with_string(out, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(64)
        .build_cartesian_2d(board.from..board.to.max(board.from + 1), low..high)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GREY.mix(0.25))
        .axis_style(GREY.mix(0.6))
        .x_labels(7)
        .y_labels(6)
        .x_label_formatter(&|ms| Timestamp::from_ms(*ms).clock())
        .y_label_formatter(&|v| number(*v))
        .label_style(("sans-serif", 12).into_font().color(&GREY))
        .draw()?;
    for (place, line) in board.series.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        match line.points.as_slice() {
            [one] => {
                chart.draw_series([Circle::new(*one, 3, colour.filled())])?;
            }
            points => {
                let style = colour.stroke_width(2);
                chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
            }
        }
    }
    if let Some(threshold) = board.threshold {
        let ends = [(board.from, threshold), (board.to, threshold)];
        chart.draw_series(DashedLineSeries::new(ends, 6, 4, RED.stroke_width(1)))?;
    }
    for m in &board.markers {
        let (colour, ends) = (marker(m.kind), [(m.at, low), (m.at, high)]);
        chart.draw_series([PathElement::new(ends, colour.mix(0.8).stroke_width(1))])?;
        chart.draw_series([Circle::new((m.at, high), 4, colour.filled())])?;
    }
    root.present()?;
    drop(chart);
    drop(root);
    Ok(())
}

/// A number as a person reads it.
pub fn number(v: f64) -> String {
    let size = v.abs();
    if v == 0.0 {
        "0".to_owned()
    } else if !(1e-4..1e9).contains(&size) {
        format!("{v:.3e}")
    } else if size >= 100.0 {
        format!("{v:.0}")
    } else if size >= 1.0 {
        let text = format!("{v:.2}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        let text = format!("{v:.5}");
        text.trim_end_matches('0').to_owned()
    }
}
