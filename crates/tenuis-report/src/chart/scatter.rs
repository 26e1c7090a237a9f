//! Quality against a cost: a point per model, the front as a staircase, dominated points grey.

use super::{CHARACTER, Scale, Svg, WIDTH, escape};
use crate::format::shorten;
use crate::front;
use tenuis_metrics::Direction::LowerIsBetter;

const HEIGHT: f64 = 300.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 44.0;
const LONGEST_LABEL: usize = 20;

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

/// A rectangle: left, top, right, bottom.
type Rectangle = [f64; 4];

impl Scatter {
    /// Draws the chart.
    pub fn svg(&self) -> String {
        let pairs: Vec<[f64; 2]> = self.points.iter().map(|p| [p.x, p.y]).collect();
        let on_front = front(&pairs, &[LowerIsBetter; 2]).unwrap_or_else(|_| vec![true; pairs.len()]);
        let best: Vec<&str> =
            self.points.iter().zip(&on_front).filter(|(_, on)| **on).map(|(p, _)| p.name.as_str()).collect();
        let description = format!("Lower left is better. Not dominated: {}", best.join(", "));
        let mut svg = Svg::new(HEIGHT, &self.title, &description);
        self.draw_axes(&mut svg);
        self.draw_front(&mut svg, &on_front);
        // Dominated points first, so that those of the front lie on top.
        let mut order: Vec<usize> = (0..self.points.len()).collect();
        order.sort_by_key(|&i| on_front[i]);
        for &index in &order {
            self.draw_point(&mut svg, index, on_front[index]);
        }
        order.reverse();
        self.draw_labels(&mut svg, &order, &on_front);
        svg.finish()
    }

    fn place(&self, point: &Point) -> (f64, f64) {
        let x = LEFT + self.x.at(point.x) * (WIDTH - LEFT - RIGHT);
        let y = HEIGHT - BOTTOM - self.y.at(point.y) * (HEIGHT - TOP - BOTTOM);
        (x, y)
    }

    fn draw_axes(&self, svg: &mut Svg) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (at, label) in &self.x.ticks {
            let x = LEFT + at * (right - LEFT);
            svg.line("grid", (x, TOP), (x, bottom));
            svg.text("tick", "middle", (x, bottom + 15.0), label);
        }
        for (at, label) in &self.y.ticks {
            let y = bottom - at * (bottom - TOP);
            svg.line("grid", (LEFT, y), (right, y));
            svg.text("tick", "end", (LEFT - 5.0, y + 4.0), label);
        }
        svg.line("axis", (LEFT, bottom), (right, bottom));
        svg.line("axis", (LEFT, TOP), (LEFT, bottom));
        let scaled =
            |scale: &Scale| format!("{}{}", scale.caption, if scale.log { ", log scale" } else { "" });
        let middle = f64::midpoint(LEFT, right);
        svg.text("caption", "middle", (middle, HEIGHT - 8.0), &format!("{} →", scaled(&self.x)));
        svg.text("caption", "start", (4.0, 12.0), &format!("↑ {}", scaled(&self.y)));
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

    /// Puts each label at the first of eight places around its point where it covers nothing. Where there is none, one of the
    /// front goes where it covers least, and a dominated point stays without (its tooltip and the table name it).
    fn draw_labels(&self, svg: &mut Svg, order: &[usize], on_front: &[bool]) {
        let mut taken: Vec<Rectangle> = self
            .points
            .iter()
            .map(|p| self.place(p))
            .map(|(x, y)| [x - 6.0, y - 6.0, x + 6.0, y + 6.0])
            .collect();
        for &index in order {
            let point = &self.points[index];
            let label = shorten(&point.name, LONGEST_LABEL);
            let width = label.chars().count() as f64 * CHARACTER;
            let (x, y) = self.place(point);
            let covered = |at: &Place| {
                let own = at.rectangle(width);
                let outside =
                    own[0] < LEFT || own[2] > WIDTH || own[1] < TOP - 8.0 || own[3] > HEIGHT - BOTTOM;
                taken.iter().map(|other| overlap(&own, other)).sum::<f64>() + if outside { 1e6 } else { 0.0 }
            };
            let places = places(x, y);
            let free = places.iter().find(|at| covered(at) == 0.0);
            let least = || places.iter().min_by(|a, b| covered(a).total_cmp(&covered(b)));
            let named = on_front[index] || point.baseline;
            let Some(place) = free.or_else(|| named.then(least).flatten()) else { continue };
            let class = if named { "label" } else { "label faint" };
            svg.text(class, place.anchor, (place.x, place.y), &label);
            taken.push(place.rectangle(width));
        }
    }
}

/// Where a label may stand.
struct Place {
    anchor: &'static str,
    x: f64,
    y: f64,
}

impl Place {
    /// What a label of a width covers here.
    fn rectangle(&self, width: f64) -> Rectangle {
        let left = match self.anchor {
            "start" => self.x,
            "end" => self.x - width,
            _ => self.x - width / 2.0,
        };
        [left, self.y - 10.0, left + width, self.y + 3.0]
    }
}

/// The places around a point, best first.
fn places(x: f64, y: f64) -> [Place; 8] {
    let (right, left) = (("start", x + 9.0), ("end", x - 9.0));
    let place = |(anchor, x), y| Place { anchor, x, y };
    [
        place(right, y + 4.0),
        place(left, y + 4.0),
        place(("middle", x), y - 10.0),
        place(("middle", x), y + 20.0),
        place(right, y - 9.0),
        place(left, y - 9.0),
        place(right, y + 18.0),
        place(left, y + 18.0),
    ]
}

fn overlap(a: &Rectangle, b: &Rectangle) -> f64 {
    let side = |low: usize| (a[low + 2].min(b[low + 2]) - a[low].max(b[low])).max(0.0);
    side(0) * side(1)
}
