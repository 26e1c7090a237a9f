//! The page of a real report, read back with a strict parser: what is not well formed does not get past it.

use roxmltree::{Document, Node};
use serde_json::{Value, json};
use tenuis_report::{ReportError, Verdict, render, render_str};

const DEMO: &str = include_str!("data/demo.json");
/// A report with everything that there is; what the demonstration does not measure is made up.
const FULL: &str = include_str!("data/full.json");
/// The largest page of a report of five candidates, in bytes.
const LARGEST: usize = 200_000;

fn demo() -> Value {
    serde_json::from_str(DEMO).expect("the demonstration's report")
}

/// The smallest report there is.
fn bare() -> Value {
    json!({
        "schema": "tenuis.report/1",
        "baseline": { "name": "baseline", "size": { "bytes": 4000 } },
        "candidates": [{ "name": "small", "size": { "bytes": 1000 } }],
    })
}

/// Reads a page; the document type, which XML has none of, goes first.
fn with_page<T>(page: &str, look: impl FnOnce(Node<'_, '_>) -> T) -> T {
    let body = page.strip_prefix("<!DOCTYPE html>").expect("a document type");
    let document = Document::parse(body).unwrap_or_else(|error| panic!("not well formed: {error}"));
    look(document.root_element())
}

fn text(node: Node<'_, '_>) -> String {
    node.descendants().filter(Node::is_text).filter_map(|n| n.text()).collect()
}

fn of_class<'a>(node: Node<'a, 'a>, class: &str) -> Vec<Node<'a, 'a>> {
    let has = |n: &Node<'_, '_>| n.attribute("class").is_some_and(|c| c.split(' ').any(|one| one == class));
    node.descendants().filter(has).collect()
}

fn section<'a>(root: Node<'a, 'a>, id: &str) -> Option<Node<'a, 'a>> {
    root.descendants().find(|n| n.attribute("id") == Some(id))
}

#[test]
fn a_real_report_has_every_section_in_order() {
    let page = render_str(DEMO).unwrap();
    assert!(page.len() < LARGEST, "{} bytes", page.len());
    with_page(&page, |root| {
        let ids: Vec<_> = root
            .descendants()
            .filter(|n| n.has_tag_name("section"))
            .filter_map(|n| n.attribute("id"))
            .collect();
        let expected = [
            "verdict",
            "comparison",
            "fronts",
            "changes",
            "latency",
            "layers",
            "candidates",
            "literature",
            "protocol",
        ];
        assert_eq!(ids, expected);
        let title = root.descendants().find(|n| n.has_tag_name("title")).unwrap();
        assert_eq!(text(title), "Compression report: model");
        assert_eq!(root.attribute("lang"), Some("en"));
    });
}

#[test]
fn the_verdict_says_what_was_gained_and_lost() {
    let report = demo();
    let verdict = Verdict::of(&serde_json::from_value(report).unwrap());
    let pick = &verdict.picks[0];
    assert_eq!(
        verdict.headline,
        "Take int4-gptq: 2.64× smaller with next to no loss (99.90\u{a0}% of the perplexity is kept)."
    );
    assert_eq!(pick.roles, ["recommended", "smallest that keeps its quality"]);
    let figure = |label: &str| {
        let line = pick.gained.iter().chain(&pick.lost).find(|line| line.label == label);
        line.unwrap_or_else(|| panic!("no {label}")).figure.clone()
    };
    assert_eq!(figure("Size"), "2.64× smaller");
    // 1.42 ms and 1.09 ms, but each lies within the other's spread.
    assert_eq!(figure("Decoding"), "no clear change");
    assert_eq!(figure("Top-1 agreement"), "98.06\u{a0}%");
    assert_eq!(figure("Task cloze"), "0.00\u{a0}points");
    assert!(pick.devices.contains("embedded board with 128 MiB"), "{}", pick.devices);
    assert!(verdict.missing.is_empty(), "{:?}", verdict.missing);
}

#[test]
fn the_table_has_the_baseline_first_and_sorts_by_numbers() {
    with_page(&render_str(DEMO).unwrap(), |root| {
        let table = section(root, "comparison").unwrap();
        let heads =
            table.descendants().filter(|n| n.has_tag_name("th") && n.attribute("scope") == Some("col"));
        let heads: Vec<_> = heads.collect();
        assert!(heads.iter().all(|head| head.attribute("aria-sort") == Some("none")));
        let rows: Vec<_> = table.descendants().filter(|n| n.has_tag_name("tr")).skip(1).collect();
        assert_eq!(rows.len(), 6);
        assert!(rows[0].attribute("class").is_some_and(|class| class.starts_with("baseline")));
        for row in &rows {
            let cells: Vec<_> = row.children().filter(Node::is_element).collect();
            assert_eq!(cells.len(), heads.len());
            for cell in &cells[1..] {
                let sort = cell.attribute("data-sort");
                assert!(sort.is_none_or(|sort| sort.parse::<f64>().is_ok()), "{sort:?}");
                assert_eq!(sort.is_none(), text(*cell) == "–");
            }
        }
        let ours = text(rows[4]);
        assert!(ours.contains("2.64×") && ours.contains("37.84\u{a0}%"), "both ratio and fraction: {ours}");
    });
}

#[test]
fn dominated_points_are_grey_and_the_front_is_drawn() {
    with_page(&render_str(DEMO).unwrap(), |root| {
        let charts = section(root, "fronts").unwrap();
        let charts: Vec<_> = charts.descendants().filter(|n| n.has_tag_name("svg")).collect();
        assert_eq!(charts.len(), 3);
        // Against size, int4-gptq loses less than int4-rtn at the same bytes, and distilled is larger and worse.
        let grey: Vec<String> = of_class(charts[0], "dominated").into_iter().map(text).collect();
        assert_eq!(grey.len(), 2, "{grey:?}");
        assert!(grey[0].starts_with("int4-rtn") && grey[1].starts_with("distilled"), "{grey:?}");
        assert_eq!(of_class(charts[0], "front").len(), 1);
        for chart in &charts {
            assert_eq!(chart.attribute("role"), Some("img"));
            assert!(chart.attribute("aria-label").is_some_and(|label| label.contains("Not dominated")));
            assert!(of_class(*chart, "tick").len() >= 4);
        }
    });
}

#[test]
fn labels_do_not_cover_each_other() {
    with_page(&render_str(DEMO).unwrap(), |root| {
        for chart in section(root, "fronts").unwrap().descendants().filter(|n| n.has_tag_name("svg")) {
            let number = |n: Node<'_, '_>, name| n.attribute(name).unwrap().parse::<f64>().unwrap();
            let rectangle = |n: Node<'_, '_>| {
                let width = text(n).chars().count() as f64 * 7.0;
                let left = match n.attribute("text-anchor") {
                    Some("start") => 0.0,
                    Some("end") => width,
                    _ => width / 2.0,
                };
                (number(n, "x") - left, number(n, "y"), width)
            };
            let boxes: Vec<_> = of_class(chart, "label").into_iter().map(rectangle).collect();
            assert!(boxes.len() > 3);
            for (index, a) in boxes.iter().enumerate() {
                for b in &boxes[index + 1..] {
                    let apart = a.0 + a.2 <= b.0 || b.0 + b.2 <= a.0 || (a.1 - b.1).abs() >= 11.0;
                    assert!(apart, "{a:?} and {b:?}");
                }
            }
        }
    });
}

#[test]
fn nothing_is_loaded_from_anywhere() {
    for page in [render_str(DEMO).unwrap(), render_str(FULL).unwrap()] {
        with_page(&page, |root| {
            for node in root.descendants().filter(Node::is_element) {
                let name = node.tag_name().name();
                assert!(
                    !["link", "img", "iframe", "object", "embed", "base", "form"].contains(&name),
                    "{name}"
                );
                for attribute in node.attributes() {
                    let value = attribute.value();
                    match attribute.name() {
                        // Links lead to places of the page itself, and styles only say how long a bar is.
                        "href" => assert!(name == "a" && value.starts_with('#'), "{value}"),
                        "style" => {
                            let level = value.strip_prefix("--level:").and_then(|level| level.parse().ok());
                            assert!(level.is_some_and(|level: f64| (0.0..=1.0).contains(&level)), "{value}");
                        }
                        name => {
                            assert!(!["src", "srcset", "action"].contains(&name) && !name.starts_with("on"));
                        }
                    }
                }
            }
        });
        for word in
            ["http:", "https:", "url(", "@import", "fetch(", "XMLHttpRequest", "WebSocket", "sendBeacon"]
        {
            assert!(!page.contains(word), "{word}");
        }
    }
}

#[test]
fn names_are_text_wherever_they_stand() {
    const EVIL: &str = "</script><img src=x onerror='alert(1)'>&\"\u{1}{{ 7*7 }}";
    let mut report = demo();
    let candidate = &mut report["candidates"][2];
    candidate["name"] = EVIL.into();
    candidate["checkpoint"] = EVIL.into();
    candidate["recipe"] = EVIL.into();
    let stage = &mut candidate["compression"]["stages"][0];
    stage["technique"] = EVIL.into();
    stage["notes"] = json!([EVIL]);
    stage["warnings"] = json!([EVIL]);
    stage["skipped"] = json!([EVIL]);
    stage["metrics"][0]["key"] = format!("a.0.{EVIL}/weight_error").into();
    candidate["quality"]["tasks"] = json!({ EVIL: { "value": 0.5 } });
    candidate["quality"]["slices"] = json!({ EVIL: { EVIL: 1.0 } });
    report["baseline"]["checkpoint"] = EVIL.into();
    report["baseline"]["quality"]["tasks"] = json!({ EVIL: { "value": 0.5 } });
    report["machine"]["cpu"] = EVIL.into();
    report["warnings"] = json!([EVIL]);
    report["requirements"] = json!([{ "requirement": EVIL, "candidates": [] }]);
    for index in [0, 1, 3, 4] {
        report["candidates"][index]["name"] = format!("{index} {EVIL}").into();
    }
    let page = render(&report).unwrap();
    assert_eq!(page.matches("<script>").count(), 1);
    assert_eq!(page.matches("</script>").count(), 1);
    assert!(!page.contains("<img"));
    with_page(&page, |root| {
        let named =
            root.descendants().filter(|n| n.is_text() && n.text().is_some_and(|t| t.contains("{{ 7*7 }}")));
        assert!(named.count() > 10);
    });
}

#[test]
fn what_is_missing_is_called_so_and_never_invented() {
    let page = render(&bare()).unwrap();
    with_page(&page, |root| {
        let verdict = text(section(root, "verdict").unwrap());
        assert!(verdict.contains("Take small: 4.00× smaller with loss not measured"), "{verdict}");
        assert!(verdict.contains("memory was not measured"));
        let missing = of_class(root, "missing");
        assert_eq!(missing.len(), 7);
        assert!(missing.iter().all(|line| text(*line).contains("not measured")));
        for id in ["fronts", "latency", "layers", "literature", "slices"] {
            assert!(section(root, id).is_none(), "{id}");
        }
        assert!(text(section(root, "protocol").unwrap()).contains("not recorded"));
    });
    for word in ["NaN", "inf ", "null", "undefined"] {
        assert!(!with_page(&page, |root| text(section(root, "verdict").unwrap())).contains(word), "{word}");
    }
}

#[test]
fn any_optional_part_may_go() {
    let parts = ["machine", "protocol", "version", "created_unix", "candidates", "warnings", "requirements"];
    for part in parts {
        let mut report = demo();
        report.as_object_mut().unwrap().remove(part);
        with_page(&render(&report).unwrap(), |_| ());
        report[part] = Value::Null;
        with_page(&render(&report).unwrap(), |_| ());
    }
    for part in ["recipe", "checkpoint", "quality", "speed", "memory", "compression"] {
        for of in ["baseline", "candidate", "both"] {
            let mut report = demo();
            if of != "candidate" {
                report["baseline"][part] = Value::Null;
            }
            if of != "baseline" {
                report["candidates"][3][part] = Value::Null;
            }
            with_page(&render(&report).unwrap(), |_| ());
        }
    }
}

/// A requirement that every candidate of the demonstration meets, but for those at some places.
fn requirement(text: &str, others: &[(usize, &str)]) -> Value {
    let names = ["f16", "int8-rtn", "int4-rtn", "int4-gptq", "distilled"];
    let judge = |(index, name): (usize, &&str)| {
        let verdict = others.iter().find(|other| other.0 == index).map_or("yes", |other| other.1);
        json!({ "candidate": name, "value": 2_483_176.0, "limit": 4e6, "verdict": verdict })
    };
    json!({ "requirement": text, "candidates": names.iter().enumerate().map(judge).collect::<Vec<_>>() })
}

#[test]
fn a_requirement_that_does_not_hold_takes_a_candidate_out_and_is_told() {
    let mut report = demo();
    report["requirements"] = json!([requirement("bytes <= 4e6", &[(3, "no")])]);
    with_page(&render(&report).unwrap(), |root| {
        let verdict = text(section(root, "verdict").unwrap());
        assert!(verdict.contains("Take int4-rtn"), "{verdict}");
        assert!(
            verdict.contains("holds bytes <= 4e6 measured 2.37\u{a0}MiB, limit 3.81\u{a0}MiB"),
            "{verdict}"
        );
    });
    // What was not measured never counts as passed.
    report["requirements"] = json!([requirement("kl_mean < 1", &[(2, "undecided"), (3, "undecided")])]);
    assert!(!render(&report).unwrap().contains("Take int4"));
    report["requirements"] = json!([{ "requirement": "ratio > 9", "candidates": [] }]);
    with_page(&render(&report).unwrap(), |root| {
        let verdict = text(section(root, "verdict").unwrap());
        assert!(verdict.contains("No candidate meets the requirements."), "{verdict}");
        assert_eq!(
            verdict.matches("undecided not measured, limit not known").count(),
            5,
            "who misses what is told"
        );
    });
}

#[test]
fn a_judgement_belongs_to_the_candidate_of_its_name() {
    let mut report = demo();
    let mut judged = requirement("bytes <= 4e6", &[(3, "no")]);
    judged["candidates"].as_array_mut().unwrap().reverse();
    report["requirements"] = json!([judged]);
    assert!(render(&report).unwrap().contains("Take int4-rtn"));
}

fn full() -> Value {
    serde_json::from_str(FULL).expect("the report with everything")
}

#[test]
fn a_report_with_everything_has_every_section_and_a_link_to_each() {
    with_page(&render_str(FULL).unwrap(), |root| {
        let sections = root.descendants().filter(|n| n.has_tag_name("section"));
        let ids: Vec<_> = sections.filter_map(|n| n.attribute("id")).collect();
        let expected = [
            "verdict",
            "comparison",
            "search",
            "smaller",
            "kept",
            "faster",
            "balance",
            "bought",
            "buys",
            "fronts",
            "changes",
            "slices",
            "robustness",
            "latency",
            "sweep",
            "load",
            "memory",
            "start",
            "energy",
            "elsewhere",
            "layers",
            "gates",
            "candidates",
            "literature",
            "protocol",
        ];
        assert_eq!(ids, expected);
        let links = section(root, "contents").unwrap().descendants().filter_map(|n| n.attribute("href"));
        let links: Vec<_> = links.map(|link| link.trim_start_matches('#')).collect();
        assert_eq!(links, expected[1..]);
    });
}

/// The cell of a row and a column of a section's tables.
fn cell(root: Node<'_, '_>, id: &str, row: &str, column: &str) -> (String, String) {
    let part = section(root, id).unwrap_or_else(|| panic!("no section {id}"));
    let rows: Vec<_> = part.descendants().filter(|n| n.has_tag_name("tr")).collect();
    let cells = |row: Node<'_, '_>| row.children().filter(Node::is_element).map(text).collect::<Vec<_>>();
    let heads = cells(rows[0]);
    let at =
        heads.iter().position(|head| head == column).unwrap_or_else(|| panic!("no {column} in {heads:?}"));
    let found = rows.iter().find(|one| cells(**one)[0] == row).unwrap_or_else(|| panic!("no {row} in {id}"));
    let cell = found.children().filter(Node::is_element).nth(at).expect("a cell");
    (text(cell), cell.attribute("class").unwrap_or_default().to_owned())
}

#[test]
fn a_curve_is_drawn_beside_the_ideal_and_says_where_it_stops_paying() {
    with_page(&render_str(FULL).unwrap(), |root| {
        let buys = section(root, "buys").unwrap();
        let charts: Vec<_> = buys.descendants().filter(|n| n.has_tag_name("svg")).collect();
        // Peak memory and operations have no curve, which is said instead.
        assert_eq!(charts.len(), 2);
        for chart in &charts {
            for class in ["curve", "ideal", "mark"] {
                assert_eq!(of_class(*chart, class).len(), 1, "{class}");
            }
            assert_eq!(of_class(*chart, "point").len(), 6);
        }
        let notes = text(of_class(buys, "note")[0]);
        assert!(notes.contains("No curve over peak memory: quality does not rise"), "{notes}");
        assert!(notes.contains("explains only 1.30\u{a0}%"), "a poor fit is told: {notes}");
        // Pmax/s · exp(−R/s) at 6.562376 MB, Pmax = 99.2 and s = 0.62.
        let wanted = 99.2 / 0.62 * f64::exp(-6.562_376 / 0.62);
        let (found, _) = cell(root, "buys", "baseline", "Another MB buys");
        assert_eq!(found, format!("{wanted:.6}\u{a0}points"));
    });
}

#[test]
fn what_was_bought_is_paid_back_or_says_why_not() {
    with_page(&render_str(FULL).unwrap(), |root| {
        let (text, class) = cell(root, "bought", "Bytes of the files", "int4-gptq");
        assert!(text.starts_with("37.84\u{a0}%") && class.contains("good"), "{text} {class}");
        let (text, _) = cell(root, "bought", "Quality kept", "distilled");
        assert!(text.starts_with("68.57"), "{text}");
        let (text, _) = cell(root, "bought", "Paid back in time after", "int4-gptq");
        assert!(text.starts_with("28\u{202f}441 tokens") && text.contains("21.8\u{a0}s"), "{text}");
        let (text, _) = cell(root, "bought", "Paid back in time after", "f16");
        assert!(text.starts_with("never") && text.contains("vary"), "{text}");
        let (text, _) = cell(root, "bought", "Paid back in money after", "f16");
        assert!(text.starts_with("not known"), "{text}");
    });
}

#[test]
fn a_search_gives_its_answer_its_front_and_what_is_built_in() {
    let mut report = full();
    with_page(&render(&report).unwrap(), |root| {
        let search = section(root, "search").unwrap();
        let words = text(search);
        assert!(words.contains("0.1.1 meets every limit, score 0.6790"), "{words}");
        assert!(words.contains("Latencies are this machine's"), "{words}");
        let chart = search.descendants().find(|n| n.has_tag_name("svg")).unwrap();
        assert_eq!((of_class(chart, "best").len(), of_class(chart, "knee").len()), (3, 1));
        assert_eq!((of_class(chart, "partial").len(), of_class(chart, "dominated").len()), (8, 1));
        let labels: Vec<String> = of_class(chart, "label").into_iter().map(text).collect();
        assert!(
            labels.contains(&"0.1.1 ★".to_owned()) && labels.contains(&"0.1.3 knee".to_owned()),
            "{labels:?}"
        );
        let (found, class) = cell(root, "search", "int2-rtn", "Meets limits");
        assert!(found.contains("over its limit 3") && class.contains("bad"), "{found}");
        assert!(words.contains("singular; raise damp_percent"), "a failure says why");
    });
    report["search"]["outcome"] = "closest".into();
    report["search"]["best"]["feasible"] = false.into();
    report["search"]["best"]["violations"] = json!(["loss is 4, over its limit 3 by 33.3 %"]);
    assert!(render(&report).unwrap().contains("comes closest; it violates: loss is 4"));
}

#[test]
fn gates_tell_every_attempt_in_order() {
    with_page(&render_str(FULL).unwrap(), |root| {
        let (text, class) = cell(root, "gates", "1. gptq", "Decision");
        assert!(text.contains("rolled back, next rung") && text.contains("bits = 4"), "{text}");
        assert!(class.contains("bad"));
        assert_eq!(cell(root, "gates", "2. gptq", "Decision").0, "kept");
        let (text, _) = cell(root, "gates", "3. prune", "Conditions");
        assert!(text.contains("? task.cloze"), "what was not measured never passes: {text}");
    });
}

#[test]
fn the_page_does_without_any_part_of_the_planning() {
    for (part, ids) in [("curves", &["buys"][..]), ("bought", &["bought"]), ("search", &["search"])] {
        for absent in [None, Some(Value::Null)] {
            let mut report = full();
            match absent {
                Some(null) => report[part] = null,
                None => drop(report.as_object_mut().unwrap().remove(part)),
            }
            with_page(&render(&report).unwrap(), |root| {
                for id in ids {
                    assert!(section(root, id).is_none(), "{id}");
                }
            });
        }
    }
    // What a later version leaves out of a search is left out here.
    let mut report = full();
    report["search"] = json!({});
    with_page(&render(&report).unwrap(), |root| {
        assert!(text(section(root, "search").unwrap()).contains("nothing was measured"));
    });
}

#[test]
fn ratio_and_fraction_stand_together() {
    with_page(&render_str(FULL).unwrap(), |root| {
        let (text, class) = cell(root, "smaller", "Bytes of the files", "int4-gptq");
        assert!(text.starts_with("2.64×") && text.contains("fraction 37.84\u{a0}%"), "{text}");
        assert!(text.contains("2.37\u{a0}MiB") && class.contains("good"), "{text} {class}");
        let (text, _) = cell(root, "smaller", "Bytes against 32-bit floats", "int4-gptq");
        assert!(text.starts_with("5.28×"), "{text}");
    });
}

#[test]
fn a_loss_is_significant_where_its_interval_leaves_out_nothing() {
    let mut report = full();
    let kept = &mut report["candidates"][0]["figures"]["retention"]["perplexity"];
    *kept = json!({ "direction": "lower_is_better", "baseline": 2.0, "candidate": 2.5, "percent": 80.0,
        "change_percent": 25.0, "difference": { "value": 0.5, "low": 0.25, "high": 0.75, "confidence": 0.95 } });
    let seen =
        |report: &Value| with_page(&render(report).unwrap(), |root| cell(root, "kept", "Perplexity", "f16"));
    let (text, class) = seen(&report);
    assert!(
        text.contains("80.00\u{a0}%") && text.contains("+25.0\u{a0}%") && text.ends_with("significant loss"),
        "{text}"
    );
    assert!(text.contains("95\u{a0}%: +0.250 to +0.750") && class == "bad", "{text} {class}");
    report["candidates"][0]["figures"]["retention"]["perplexity"]["difference"]["low"] = (-0.25).into();
    let (text, class) = seen(&report);
    assert!(text.ends_with("not significant") && class == "even", "{text} {class}");
    report["candidates"][0]["figures"]["retention"]["perplexity"]["difference"] = Value::Null;
    assert!(seen(&report).0.ends_with("no interval"));
}

#[test]
fn a_speed_up_below_theory_is_flagged() {
    with_page(&render_str(FULL).unwrap(), |root| {
        let (text, class) = cell(root, "faster", "Decoding step", "int4-gptq");
        assert!(
            text.contains("2.65× in theory") && text.contains("falls short") && class == "good flag",
            "{text} {class}"
        );
        assert!(!cell(root, "faster", "Decoding step", "f16").0.contains("falls short"));
    });
}

#[test]
fn a_noisy_machine_is_said_first_and_a_quiet_one_not_at_all() {
    let mut report = full();
    with_page(&render(&report).unwrap(), |root| {
        let banner = of_class(root, "noisy");
        assert!(text(banner[0]).contains("the same arithmetic took times that vary"), "{}", text(banner[0]));
    });
    for verdict in [json!({ "verdict": "quiet" }), json!("quiet"), Value::Null] {
        report["machine"]["noise"]["verdict"] = verdict;
        with_page(&render(&report).unwrap(), |root| assert!(of_class(root, "noisy").is_empty()));
    }
    report["machine"]["noise"]["verdict"] = json!("noisy");
    with_page(&render(&report).unwrap(), |root| assert_eq!(of_class(root, "noisy").len(), 1));
}

#[test]
fn energy_that_is_unavailable_says_why_and_cost_stays_undecided() {
    with_page(&render_str(FULL).unwrap(), |root| {
        let (text, _) = cell(root, "energy", "Energy per token", "f16");
        assert!(text.starts_with("unavailable") && text.contains("energy counter"), "{text}");
        assert!(cell(root, "energy", "Energy per token", "int4-gptq").0.contains("\u{a0}J"));
        assert!(cell(root, "energy", "A million tokens", "f16").0.starts_with("undecided"));
    });
}

#[test]
fn overload_is_said() {
    let mut report = full();
    with_page(&render(&report).unwrap(), |root| {
        let (text, class) = cell(root, "load", "Steady arrivals", "baseline");
        assert!(text.contains("overload, each second adds") && class == "bad", "{text} {class}");
        let (text, class) = cell(root, "load", "Steady arrivals", "distilled");
        assert!(text.contains("busy") && !text.contains("overload") && class == "even", "{text} {class}");
    });
    let load = &mut report["candidates"][4]["speed"]["load"]["steady"]["load"];
    load["queue"] = json!({ "state": "growing", "seconds_per_second": 0.1 });
    with_page(&render(&report).unwrap(), |root| {
        assert!(cell(root, "load", "Steady arrivals", "distilled").0.contains("overload"));
    });
}

#[test]
fn figures_of_another_machine_bear_its_name() {
    with_page(&render_str(FULL).unwrap(), |root| {
        let part = text(section(root, "elsewhere").unwrap());
        assert!(part.contains("Measured on pi5") && part.contains("Cortex-A76"), "{part}");
    });
}

#[test]
fn the_damaged_slice_has_the_longest_bar() {
    with_page(&render_str(FULL).unwrap(), |root| {
        let part = section(root, "slices").unwrap();
        let row = |name: &str| {
            let rows = part.descendants().filter(|n| n.has_tag_name("tr"));
            rows.into_iter().find(|row| text(*row).trim_start().starts_with(name)).unwrap()
        };
        let levels = |name: &str| -> Vec<f64> {
            let style =
                |n: Node<'_, '_>| n.attribute("style").and_then(|s| s.strip_prefix("--level:")?.parse().ok());
            row(name).children().filter_map(style).collect()
        };
        let (easy, hard) = (levels("easiest quarter"), levels("hardest quarter"));
        assert_eq!(hard.len(), 5);
        assert!(easy.iter().zip(&hard).all(|(easy, hard)| easy <= hard), "{easy:?} {hard:?}");
        assert_eq!(hard.iter().copied().fold(0.0, f64::max), 1.0);
    });
}

#[test]
fn any_new_part_may_go() {
    let parts = [
        "/figures",
        "/cost",
        "/size/work",
        "/quality/slices",
        "/quality/robustness",
        "/quality/business",
        "/speed/sweep",
        "/speed/load",
        "/speed/energy",
        "/memory/split",
        "/memory/start",
        "/figures/retention",
        "/figures/compression",
        "/figures/speed_up",
        "/quality/kl_median",
    ];
    for part in parts {
        for null in [true, false] {
            let mut report = full();
            let entries = report["candidates"].as_array_mut().unwrap();
            for entry in entries {
                let (parent, name) = part.rsplit_once('/').unwrap();
                let parent = entry.pointer_mut(parent).unwrap().as_object_mut().unwrap();
                if null {
                    parent.insert(name.to_owned(), Value::Null);
                } else {
                    parent.remove(name).unwrap_or_else(|| panic!("the sample has no {part}"));
                }
            }
            with_page(&render(&report).unwrap(), |_| ());
        }
    }
}

#[test]
fn slices_of_a_task_may_be_a_list_or_an_object() {
    let mut report = demo();
    let slices = |value: f64| json!({ "rare words": { "value": value, "items": 10 } });
    report["baseline"]["quality"]["tasks"]["facts"]["slices"] = slices(0.8);
    report["candidates"][0]["quality"]["tasks"]["facts"]["slices"] = slices(0.6);
    report["candidates"][1]["quality"]["tasks"]["facts"]["slices"] =
        json!([{ "name": "rare words", "value": 0.8, "items": 10 }]);
    with_page(&render(&report).unwrap(), |root| {
        assert!(cell(root, "slices", "rare words", "baseline").0.contains("10 items"));
        let (text, _) = cell(root, "slices", "rare words", "f16");
        assert!(text.starts_with("60.00\u{a0}%") && text.contains("−20.00\u{a0}points"), "{text}");
        assert!(cell(root, "slices", "rare words", "int8-rtn").0.contains("0.00\u{a0}points"));
        assert_eq!(cell(root, "slices", "rare words", "distilled").0, "–");
    });
}

#[test]
fn slices_become_tables() {
    let mut report = demo();
    report["candidates"][0]["quality"]["slices"] = json!([{ "name": "code", "perplexity": { "value": 2.5 }, "kl_mean": 0.1 }, { "name": "prose", "kl_mean": 0.2 }]);
    with_page(&render(&report).unwrap(), |root| {
        let slices = text(section(root, "slices").unwrap());
        assert!(
            slices.contains("code") && slices.contains("2.500") && slices.contains("kl mean"),
            "{slices}"
        );
    });
}

#[test]
fn errors_name_the_field() {
    let mut report = demo();
    report["candidates"][1]["size"]["bytes"] = "many".into();
    let error = render(&report).unwrap_err();
    assert!(
        matches!(&error, ReportError::Field { field, .. } if field == "candidates[1].size.bytes"),
        "{error}"
    );
    let mut report = demo();
    report["candidates"][1]["size"].as_object_mut().unwrap().remove("bytes");
    let message = render(&report).unwrap_err().to_string();
    assert!(message.contains("candidates[1].size") && message.contains("bytes"), "{message}");
    let mut report = demo();
    report["schema"] = "tenuis.report/2".into();
    assert!(matches!(render(&report).unwrap_err(), ReportError::Schema { .. }));
    assert!(matches!(render_str("{").unwrap_err(), ReportError::Json(_)));
    let error = render(&json!({})).unwrap_err();
    assert!(error.to_string().contains("schema"), "{error}");
}

#[test]
fn fields_of_later_versions_are_ignored() {
    let mut report = demo();
    report["lineage"] = json!({ "parents": [1, 2] });
    report["candidates"][0]["quality"]["calibration_error"] = json!({ "ece": 0.01 });
    assert_eq!(render(&report).unwrap(), render(&demo()).unwrap());
}
