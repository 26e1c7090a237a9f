//! The committed JSON Schema of reports is the one that the types generate.

use std::path::Path;
use tenuis_eval::report::Report;

#[test]
fn committed_schema_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/report.schema.json");
    let generated = serde_json::to_string_pretty(&Report::json_schema()).unwrap() + "\n";
    if std::env::var_os("TENUIS_BLESS").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        committed, generated,
        "regenerate with TENUIS_BLESS=1 cargo test -p tenuis-eval --test schema"
    );
}
