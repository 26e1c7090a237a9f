//! The two axes of a chart, and labels that cover as little as they can.

use super::{CHARACTER, Scale, Svg, WIDTH};
use crate::format::shorten;

const HEIGHT: f64 = 300.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 44.0;
const LONGEST_LABEL: usize = 20;

/// A rectangle: left, top, right, bottom.
type Rectangle = [f64; 4];

/// A plane between two axes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) x: &'a Scale,
    pub(super) y: &'a Scale,
}

/// A point's name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label<'a> {
    pub(super) name: &'a str,
    /// The point in the drawing.
    pub(super) at: (f64, f64),
    /// Whether it is written even where it covers something.
    pub(super) named: bool,
}

impl Frame<'_> {
    /// An empty drawing of its size.
    pub(super) fn svg(title: &str, description: &str) -> Svg {
        Svg::new(HEIGHT, title, description)
    }

    /// Where a pair of values lies in the drawing.
    pub(super) fn place(self, x: f64, y: f64) -> (f64, f64) {
        let x = LEFT + self.x.at(x) * (WIDTH - LEFT - RIGHT);
        let y = HEIGHT - BOTTOM - self.y.at(y) * (HEIGHT - TOP - BOTTOM);
        (x, y)
    }

    pub(super) fn draw_axes(self, svg: &mut Svg) {
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
        svg.text("caption", "middle", (middle, HEIGHT - 8.0), &format!("{} →", scaled(self.x)));
        svg.text("caption", "start", (4.0, 12.0), &format!("↑ {}", scaled(self.y)));
    }

    /// Draws an upright line at a value, with words beside its lower end, and yields what those cover.
    pub(super) fn draw_mark(self, svg: &mut Svg, x: f64, words: &str) -> Rectangle {
        let (x, bottom) = (self.place(x, 0.0).0, HEIGHT - BOTTOM);
        svg.line("mark", (x, TOP), (x, bottom));
        let width = words.chars().count() as f64 * CHARACTER;
        let fits = x + 5.0 + width <= WIDTH;
        let place = Place {
            anchor: if fits { "start" } else { "end" },
            x: if fits { x + 5.0 } else { x - 5.0 },
            y: bottom - 8.0,
        };
        svg.text("label faint", place.anchor, (place.x, place.y), words);
        place.rectangle(width)
    }

    /// Puts each label at the first of eight places around its point where it covers nothing. Where there is none, one that has
    /// to be named goes where it covers least, and another stays without (its tooltip and the table name it).
    pub(super) fn draw_labels(svg: &mut Svg, labels: &[Label<'_>], others: &[Rectangle]) {
        let mut taken: Vec<Rectangle> =
            labels.iter().map(|label| label.at).map(|(x, y)| [x - 6.0, y - 6.0, x + 6.0, y + 6.0]).collect();
        taken.extend(others);
        for label in labels {
            let name = shorten(label.name, LONGEST_LABEL);
            let width = name.chars().count() as f64 * CHARACTER;
            let (x, y) = label.at;
            let covered = |place: &Place| {
                let own = place.rectangle(width);
                let outside =
                    own[0] < LEFT || own[2] > WIDTH || own[1] < TOP - 8.0 || own[3] > HEIGHT - BOTTOM;
                taken.iter().map(|other| overlap(&own, other)).sum::<f64>() + if outside { 1e6 } else { 0.0 }
            };
            let places = places(x, y);
            let free = places.iter().find(|at| covered(at) == 0.0);
            let least = || places.iter().min_by(|a, b| covered(a).total_cmp(&covered(b)));
            let Some(place) = free.or_else(|| label.named.then(least).flatten()) else { continue };
            let class = if label.named { "label" } else { "label faint" };
            svg.text(class, place.anchor, (place.x, place.y), &name);
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
