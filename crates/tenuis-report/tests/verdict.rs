//! The rules of `docs/report.md`, one by one, on reports that are made for them.

use serde_json::{Value, json};
use tenuis_report::{Grade, Report, Verdict};

fn entry(name: &str, bytes: u64, perplexity: f64) -> Value {
    json!({
        "name": name,
        "size": { "bytes": bytes, "tensor_bytes": bytes, "params": 1000 },
        "quality": { "perplexity": { "value": perplexity, "predictions": 20_000 }, "kl_mean": perplexity / 1000.0 },
    })
}

fn verdict(baseline: &Value, candidates: &[Value]) -> Verdict {
    let report = json!({ "schema": "tenuis.report/1", "baseline": baseline, "candidates": candidates });
    Verdict::of(&Report::from_value(&report).expect("a report"))
}

fn picked(verdict: &Verdict) -> Vec<(&str, Vec<&str>)> {
    verdict.picks.iter().map(|pick| (pick.name.as_str(), pick.roles.clone())).collect()
}

fn steps(min: f64, median: f64, p90: f64) -> Value {
    json!({ "decode_step_seconds": { "min": min, "median": median, "p90": p90 } })
}

#[test]
fn grades_have_the_thresholds_of_the_table() {
    let grade = |kept: f64, top1: Option<f64>| {
        let mut candidate = entry("c", 500, 100.0 * 10.0 / kept);
        if let Some(top1) = top1 {
            candidate["quality"]["top1_agreement"] = top1.into();
        }
        verdict(&entry("baseline", 1000, 10.0), &[candidate]).picks[0].grade
    };
    assert_eq!(grade(99.01, None), Grade::Negligible);
    assert_eq!(grade(98.9, None), Grade::Slight);
    assert_eq!(grade(94.9, None), Grade::Noticeable);
    assert_eq!(grade(79.9, None), Grade::Severe);
    // The worst of both decides.
    assert_eq!(grade(99.9, Some(0.97)), Grade::Slight);
    assert_eq!(grade(99.9, Some(0.89)), Grade::Noticeable);
    assert_eq!(grade(90.0, Some(1.0)), Grade::Noticeable);
    assert_eq!(grade(99.9, Some(0.74)), Grade::Severe);
}

#[test]
fn a_drop_of_a_task_counts_only_beyond_its_noise() {
    let grade = |value: f64, error: Option<f64>| {
        let task = |value: f64| json!({ "facts": { "value": value, "standard_error": error } });
        let (mut baseline, mut candidate) = (entry("baseline", 1000, 10.0), entry("c", 500, 10.0));
        baseline["quality"]["tasks"] = task(0.8);
        candidate["quality"]["tasks"] = task(value);
        verdict(&baseline, &[candidate]).picks[0].grade
    };
    assert_eq!(grade(0.7, Some(0.04)), Grade::Negligible); // 0.1 < 2 · √2 · 0.04
    assert_eq!(grade(0.7, Some(0.03)), Grade::Noticeable);
    assert_eq!(grade(0.7, None), Grade::Noticeable);
    assert_eq!(grade(0.9, None), Grade::Negligible);
}

#[test]
fn the_smallest_and_the_closest_stand_beside_the_recommended() {
    let candidates = vec![
        entry("close", 800, 10.001),
        entry("middle", 500, 10.05),
        entry("small", 400, 10.5),
        entry("broken", 100, 90.0),
    ];
    let verdict = verdict(&entry("baseline", 1000, 10.0), &candidates);
    let expected = [
        ("middle", vec!["recommended"]),
        ("small", vec!["smallest that keeps its quality"]),
        ("close", vec!["closest to the baseline"]),
    ];
    assert_eq!(picked(&verdict), expected);
    assert!(
        verdict.headline.starts_with("Take middle: 2.00× smaller with next to no loss"),
        "{}",
        verdict.headline
    );
}

#[test]
fn among_equal_scores_the_divergence_decides() {
    let mut near = entry("near", 500, 10.02);
    let mut far = entry("far", 499, 10.0);
    near["quality"]["kl_mean"] = 0.001.into();
    far["quality"]["kl_mean"] = 0.01.into();
    let verdict = verdict(&entry("baseline", 1000, 10.0), &[far, near]);
    assert_eq!(verdict.picks[0].name, "near");
}

#[test]
fn where_none_is_good_the_verdict_says_so() {
    let candidates = vec![entry("bad", 500, 30.0), entry("worse", 400, 90.0)];
    let verdict = verdict(&entry("baseline", 1000, 10.0), &candidates);
    assert_eq!(picked(&verdict)[0], ("bad", vec!["least loss", "closest to the baseline"]));
    assert!(
        verdict.headline.starts_with("No candidate keeps its quality. bad loses least"),
        "{}",
        verdict.headline
    );
}

#[test]
fn a_speed_within_the_spread_is_no_gain() {
    let decoding = |speed: Value| {
        let (mut baseline, mut candidate) = (entry("baseline", 1000, 10.0), entry("c", 500, 10.0));
        baseline["speed"] = steps(0.9, 1.0, 1.2);
        candidate["speed"] = speed;
        let verdict = verdict(&baseline, &[candidate]);
        verdict.picks[0].gained.iter().find(|line| line.label == "Decoding").unwrap().figure.clone()
    };
    let mut fast = entry("fast", 500, 10.0);
    let mut baseline = entry("baseline", 1000, 10.0);
    (baseline["speed"], fast["speed"]) = (steps(0.9, 1.0, 1.2), steps(0.4, 0.5, 0.6));
    let headline = verdict(&baseline, &[fast]).headline;
    assert!(
        headline.starts_with("Take fast: 2.00× smaller and 2.00× faster at decoding with next to"),
        "{headline}"
    );
    assert_eq!(decoding(steps(0.4, 0.5, 0.6)), "2.00× faster");
    assert_eq!(decoding(steps(1.9, 2.0, 2.2)), "2.00× slower");
    assert_eq!(decoding(steps(0.4, 0.5, 1.1)), "no clear change");
    assert_eq!(decoding(steps(0.94, 0.95, 0.96)), "no clear change");
    assert_eq!(decoding(json!({ "decode_step_seconds": { "median": 0.5 } })), "2.00× faster");
    assert_eq!(decoding(json!({ "decode_step_seconds": {} })), "not measured");
}

#[test]
fn perplexities_of_different_protocols_are_not_compared() {
    let mut candidate = entry("c", 500, 9.0);
    candidate["quality"]["perplexity"]["predictions"] = 10_000.into();
    let verdict = verdict(&entry("baseline", 1000, 10.0), &[candidate]);
    assert_eq!(verdict.picks[0].lost[0].figure, "not comparable");
    assert_eq!(verdict.picks[0].grade, Grade::Unknown);
    assert!(verdict.missing.iter().any(|line| line.starts_with("The perplexity of c was measured on other")));
}

#[test]
fn the_device_is_the_smallest_that_leaves_half() {
    const GIB: u64 = 1 << 30;
    let mut candidate = entry("c", GIB, 10.0);
    let devices = |candidate: &Value| {
        verdict(&entry("baseline", 9 * GIB, 10.0), std::slice::from_ref(candidate)).picks[0].devices.clone()
    };
    let estimated = devices(&candidate);
    assert!(estimated.contains("estimated") && estimated.contains("a phone with 6 GiB"), "{estimated}");
    assert!(estimated.contains("The baseline needs a workstation with 64 GiB."), "{estimated}");
    candidate["memory"] = json!({ "peak_bytes": GIB - 1000, "empty_bytes": 1000 });
    let measured = devices(&candidate);
    assert!(
        measured.contains("a single-board computer with 2 GiB") && !measured.contains("estimated"),
        "{measured}"
    );
    candidate["memory"] = json!({ "peak_bytes": GIB, "empty_bytes": 1 });
    assert!(devices(&candidate).contains("a phone with 6 GiB"));
    candidate["memory"] = json!({ "peak_bytes": 1u64 << 50 });
    assert!(devices(&candidate).contains("fits none"));
}

#[test]
fn advice_follows_from_technique_and_loss() {
    let next = |technique: &str, options: Value, perplexity: f64| {
        let mut candidate = entry("c", 500, perplexity);
        candidate["recipe"] = json!({ "stages": [{ "technique": technique, "options": options }] });
        candidate["compression"] = json!({ "stages": [{ "technique": technique }] });
        verdict(&entry("baseline", 1000, 10.0), &[candidate]).picks[0].next.join(" ")
    };
    assert!(next("rtn", json!({ "bits": 3 }), 20.0).contains("gptq or awq in place of rtn"));
    assert!(next("rtn", json!({ "bits": 3 }), 20.0).contains("one bit more"));
    assert!(next("wanda", json!({}), 20.0).contains("distill after pruning"));
    assert!(next("rtn", json!({ "bits": 8 }), 10.0).contains("try 4 bits"));
    assert!(next("gptq", json!({ "bits": 4 }), 10.0).contains("try 3 bits"));
    // 500 bytes for 1000 weights are what 4 bits take.
    assert!(!next("gptq", json!({ "bits": 4 }), 10.0).contains("stayed dense"));
    assert!(next("gptq", json!({ "bits": 3 }), 10.0).contains("stayed dense"));
}
