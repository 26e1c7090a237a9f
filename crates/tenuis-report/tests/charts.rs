//! Charts for themselves.

use roxmltree::{Document, Node};
use tenuis_report::{Bar, Distribution, Heat, Point, Range, Scale, Scatter, Unit, bars, heat, ranges};

fn of_class<'a>(document: &'a Document<'a>, class: &str) -> Vec<Node<'a, 'a>> {
    let has = |n: &Node<'_, '_>| n.attribute("class").is_some_and(|c| c.split(' ').any(|one| one == class));
    document.descendants().filter(has).collect()
}

fn number(node: &Node<'_, '_>, name: &str) -> f64 {
    node.attribute(name).and_then(|text| text.parse().ok()).expect("a number")
}

fn scatter(points: &[(&str, f64, f64)]) -> String {
    let point = |&(name, x, y): &(&str, f64, f64)| Point {
        name: name.into(),
        x,
        y,
        detail: String::new(),
        baseline: false,
    };
    let axis = |values: Vec<f64>| Scale::fit(&values, "size", Unit::Bytes, None).expect("values");
    Scatter {
        title: "Quality".into(),
        x: axis(points.iter().map(|p| p.1).collect()),
        y: axis(points.iter().map(|p| p.2).collect()),
        points: points.iter().map(point).collect(),
    }
    .svg()
}

#[test]
fn better_points_lie_lower_and_further_left() {
    let svg = scatter(&[("a", 10.0, 30.0), ("b", 20.0, 20.0), ("c", 30.0, 30.0)]);
    let document = Document::parse(&svg).unwrap();
    let circles: Vec<_> = document.descendants().filter(|n| n.has_tag_name("circle")).collect();
    let at = |name: &str| {
        let own =
            |n: &&Node<'_, '_>| n.first_element_child().and_then(|t| t.text()).unwrap().starts_with(name);
        let circle = circles.iter().find(own).unwrap();
        (number(circle, "cx"), number(circle, "cy"))
    };
    assert!(at("a").0 < at("b").0 && at("b").0 < at("c").0);
    assert!(at("b").1 > at("a").1);
    assert_eq!(of_class(&document, "dominated").len(), 1);
}

#[test]
fn a_crowd_of_points_keeps_its_labels_apart_or_leaves_them_out() {
    let names: Vec<String> = (0..40).map(|i| format!("candidate-{i}")).collect();
    // A spiral around one place: most are dominated, many are close.
    let points: Vec<(&str, f64, f64)> = names
        .iter()
        .enumerate()
        .map(|(i, name)| {
            let (angle, radius) = (i as f64 * 0.7, 1.0 + 0.2 * i as f64);
            (name.as_str(), 100.0 + radius * angle.cos(), 100.0 + radius * angle.sin())
        })
        .collect();
    let svg = scatter(&points);
    let document = Document::parse(&svg).unwrap();
    let faint: Vec<_> =
        of_class(&document, "label").into_iter().filter(|n| n.attribute("class") != Some("label")).collect();
    assert!(faint.len() < 40);
    for (index, a) in faint.iter().enumerate() {
        for b in &faint[index + 1..] {
            let near = |name| (number(a, name) - number(b, name)).abs();
            assert!(near("y") > 8.0 || near("x") > 8.0, "{:?} on {:?}", a.text(), b.text());
        }
    }
    assert_eq!(document.descendants().filter(|n| n.has_tag_name("circle")).count(), 40);
}

#[test]
fn bars_go_left_for_less_and_are_cut_where_they_are_too_long() {
    let bar = |label, change, clear| Bar { label, change, clear };
    let rows = [
        bar("bytes", Some(-50.0), true),
        bar("perplexity", Some(900.0), true),
        bar("latency", Some(10.0), false),
        bar("memory", None, true),
    ];
    let svg = bars("Changes", &rows, 900.0);
    let document = Document::parse(&svg).unwrap();
    let (good, bad, unclear) =
        (of_class(&document, "good"), of_class(&document, "bad"), of_class(&document, "unclear"));
    assert_eq!((good.len(), bad.len(), unclear.len()), (1, 1, 1));
    assert_eq!(number(&bad[0], "width"), 2.0 * number(&good[0], "width"), "cut at 100 %");
    assert!(number(&good[0], "x") < number(&bad[0], "x"));
    let text: String = document.descendants().filter_map(|n| n.text()).collect();
    assert!(text.contains("▸ +900\u{a0}%") && text.contains("not measured"), "{text}");
}

#[test]
fn maps_have_a_cell_per_figure_and_more_colour_for_more() {
    let map = Heat {
        layers: vec![0, 1],
        parts: vec!["mlp.up_proj".into(), "self_attn.q_proj".into()],
        values: vec![Some(1.0), Some(10.0), None, Some(100.0)],
        range: (1.0, 100.0),
    };
    let svg = heat("Error", &map);
    let document = Document::parse(&svg).unwrap();
    let cells: Vec<_> = of_class(&document, "cell").into_iter().filter(Node::has_children).collect();
    let colours: Vec<f64> = cells.iter().map(|cell| number(cell, "fill-opacity")).collect();
    // 10 lies half-way between 1 and 100 where colour is logarithmic.
    assert_eq!(colours, [0.08, 0.54, 1.0]);
    let told = cells[2].first_element_child().and_then(|title| title.text());
    assert_eq!(told, Some("layer 1, self_attn.q_proj: 100.0"));
}

#[test]
fn a_latency_without_quantiles_is_a_dot_and_none_is_no_chart() {
    let with = |median| Distribution { min: None, median, p90: None, p99: None, max: None, samples: None };
    let row = |name: &str, median| Range { name: name.into(), seconds: with(median) };
    let svg = ranges("Decoding", &[row("a", Some(0.01)), row("b", None)]).unwrap();
    let document = Document::parse(&svg).unwrap();
    assert_eq!(document.descendants().filter(|n| n.has_tag_name("circle")).count(), 1);
    assert!(svg.contains("not measured") && svg.contains("latency (ms)"));
    assert_eq!(ranges("Decoding", &[row("b", None)]), None);
    assert_eq!(ranges("Decoding", &[]), None);
}
