//! Lines and points between two axes: a fitted curve through models, or the trials of a search.

use super::frame::{Frame, Label};
use super::{Scale, escape};

/// Radius of a point that counts, and of one in the background.
const RADII: (f64, f64) = (5.0, 3.0);

/// A point of a plot.
#[derive(Clone, Debug, PartialEq)]
pub struct PlotPoint {
    /// Its name.
    pub name: String,
    /// Its values in words, for the tooltip.
    pub detail: String,
    /// Across.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// How it looks: `base`, `best`, `knee`, `dominated` or `partial`, the last being small and without a label.
    pub class: &'static str,
    /// Whether its label is written even where it covers something.
    pub named: bool,
}

/// A line of a plot.
#[derive(Clone, Debug, PartialEq)]
pub struct PlotLine {
    /// How it looks: `curve`, `ideal` or `front`.
    pub class: &'static str,
    /// Its corners.
    pub corners: Vec<(f64, f64)>,
}

/// A plot.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// The same in a sentence, for those who do not see it.
    pub description: String,
    /// The horizontal axis.
    pub x: Scale,
    /// The vertical axis.
    pub y: Scale,
    /// Lines, under the points.
    pub lines: Vec<PlotLine>,
    /// An upright line, and its words.
    pub mark: Option<(f64, &'static str)>,
    /// Points; the later ones lie on top and get their labels first.
    pub points: Vec<PlotPoint>,
}

impl Plot {
    /// Draws it.
    pub fn svg(&self) -> String {
        let frame = Frame { x: &self.x, y: &self.y };
        let mut svg = Frame::svg(&self.title, &self.description);
        frame.draw_axes(&mut svg);
        for line in &self.lines {
            let corner = |(index, &(x, y)): (usize, &(f64, f64))| {
                let (x, y) = frame.place(x, y);
                format!("{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' })
            };
            let path: String = line.corners.iter().enumerate().map(corner).collect();
            svg.push(format_args!(r#"<path class="{}" d="{path}"/>"#, line.class));
        }
        let mark = self.mark.map(|(x, words)| frame.draw_mark(&mut svg, x, words));
        for point in &self.points {
            let (x, y) = frame.place(point.x, point.y);
            let radius = if point.class == "partial" { RADII.1 } else { RADII.0 };
            let (name, detail) = (escape(&point.name), escape(&point.detail));
            svg.push(format_args!(
                r#"<circle class="point {}" cx="{x:.1}" cy="{y:.1}" r="{radius}"><title>{name}: {detail}</title></circle>"#,
                point.class
            ));
        }
        let labelled = self.points.iter().rev().filter(|point| point.class != "partial");
        let label = labelled.map(|point| {
            let at = frame.place(point.x, point.y);
            Label { name: &point.name, at, named: point.named }
        });
        let labels: Vec<Label<'_>> = label.collect();
        Frame::draw_labels(&mut svg, &labels, mark.as_slice());
        svg.finish()
    }
}
