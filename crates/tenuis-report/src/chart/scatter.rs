//! Quality against a cost: a point per model, the front as a staircase, dominated points grey.

use super::frame::{Frame, Label};
use super::{Scale, Svg, escape};
use crate::front;
use tenuis_metrics::Direction::LowerIsBetter;

/// A model in a scatter chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its name.
    pub name: String,
    /// Its cost, lower is better.
    pub x: f64,
    /// Its loss of quality, lower is better.
    pub y: f64,
    /// Both in words, for the tooltip.
    pub detail: String,
    /// Whether it is the baseline.
    pub baseline: bool,
}

/// A scatter chart.
#[derive(Clone, Debug)]
pub struct Scatter {
    /// What it shows.
    pub title: String,
    /// The horizontal axis.
    pub x: Scale,
    /// The vertical axis.
    pub y: Scale,
    /// The models.
    pub points: Vec<Point>,
}

impl Scatter {
    /// Draws the chart.
    pub fn svg(&self) -> String {
        let pairs: Vec<[f64; 2]> = self.points.iter().map(|p| [p.x, p.y]).collect();
        let on_front = front(&pairs, &[LowerIsBetter; 2]).unwrap_or_else(|_| vec![true; pairs.len()]);
        let best: Vec<&str> =
            self.points.iter().zip(&on_front).filter(|(_, on)| **on).map(|(p, _)| p.name.as_str()).collect();
        let description = format!("Lower left is better. Not dominated: {}", best.join(", "));
        let mut svg = Frame::svg(&self.title, &description);
        self.frame().draw_axes(&mut svg);
        self.draw_front(&mut svg, &on_front);
        // Dominated points first, so that those of the front lie on top.
        let mut order: Vec<usize> = (0..self.points.len()).collect();
        order.sort_by_key(|&i| on_front[i]);
        for &index in &order {
            self.draw_point(&mut svg, index, on_front[index]);
        }
        order.reverse();
        let label = |&index: &usize| {
            let point = &self.points[index];
            let named = on_front[index] || point.baseline;
            Label { name: &point.name, at: self.place(point), named }
        };
        Frame::draw_labels(&mut svg, &order.iter().map(label).collect::<Vec<_>>(), &[]);
        svg.finish()
    }

    fn frame(&self) -> Frame<'_> {
        Frame { x: &self.x, y: &self.y }
    }

    fn place(&self, point: &Point) -> (f64, f64) {
        self.frame().place(point.x, point.y)
    }

    fn draw_front(&self, svg: &mut Svg, on_front: &[bool]) {
        let mut corners: Vec<(f64, f64)> =
            self.points.iter().zip(on_front).filter(|(_, on)| **on).map(|(p, _)| self.place(p)).collect();
        corners.sort_by(|a, b| a.0.total_cmp(&b.0));
        let step = |(index, (x, y)): (usize, &(f64, f64))| match index {
            0 => format!("M{x:.1} {y:.1}"),
            _ => format!("H{x:.1}V{y:.1}"),
        };
        let path: String = corners.iter().enumerate().map(step).collect();
        if corners.len() > 1 {
            svg.push(format_args!(r#"<path class="front" d="{path}"/>"#));
        }
    }

    fn draw_point(&self, svg: &mut Svg, index: usize, on_front: bool) {
        let point = &self.points[index];
        let (x, y) = self.place(point);
        let class = match (point.baseline, on_front) {
            (true, _) => "point base",
            (false, true) => "point best",
            (false, false) => "point dominated",
        };
        let (name, detail) = (escape(&point.name), escape(&point.detail));
        svg.push(format_args!(
            r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="5"><title>{name}: {detail}</title></circle>"#
        ));
    }
}
