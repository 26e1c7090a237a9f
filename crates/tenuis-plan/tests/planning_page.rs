//! Holds the examples of the page on planning against the parsers.

use std::path::Path;
use tenuis_plan::scenario::{LOSS, Scenario, builtin, builtin_names};
use tenuis_plan::search::{Method, Search, SearchConfig, Space};

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/planning.md");
    std::fs::read_to_string(path).expect("the page is part of the repository")
}

fn examples(page: &str) -> Vec<&str> {
    page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_examples_are_read() {
    let page = page();
    let [scenario, options] = examples(&page).try_into().expect("a scenario and the options of a search");
    let scenario = Scenario::parse(scenario, "planning.md").unwrap();
    assert_eq!((scenario.terms.len(), scenario.constraints.len()), (2, 3));
    let space: Space = toml::from_str(options).unwrap();
    assert_eq!(space.axes().count(), 4);
    Search::new(space, SearchConfig::new(Method::Random { trials: 3 }, 0)).unwrap();
}

#[test]
fn the_table_of_scenarios_has_their_limits() {
    let page = page();
    for name in builtin_names() {
        let start = format!("| `{name}` |");
        let row = page.lines().find(|line| line.starts_with(&start)).expect(name);
        let limits = builtin(name).unwrap().constraints;
        let loss = limits.iter().find(|c| c.figure == LOSS).and_then(|c| c.at_most);
        assert!(loss.is_none_or(|loss| row.contains(&format!("≤ {loss} point"))), "{row}");
        for limit in limits.iter().filter(|c| c.figure != LOSS) {
            let bound = format!("≤ {}{}", limit.at_most.unwrap(), if limit.hard { "" } else { ", soft" });
            assert!(row.contains(&bound), "{row} lacks {bound}");
        }
    }
}
