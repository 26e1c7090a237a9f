use super::*;
use serde_json::{Value, json};

#[test]
fn group_size_has_three_spellings() {
    for (spelling, value) in [
        (json!("auto"), GroupSizing::Auto),
        (json!("channel"), GroupSizing::Channel),
        (json!(64), GroupSizing::Columns(64)),
    ] {
        assert_eq!(serde_json::from_value::<GroupSizing>(spelling.clone()).unwrap(), value);
        assert_eq!(serde_json::to_value(value).unwrap(), spelling);
    }
    for wrong in [json!("row"), json!(0), json!(-1), json!(1.5), Value::Null] {
        let message = serde_json::from_value::<GroupSizing>(wrong).unwrap_err().to_string();
        assert!(message.contains("\"auto\", \"channel\" or a positive number"), "{message}");
    }
}

#[test]
fn an_empty_object_is_the_default() {
    assert_eq!(serde_json::from_value::<GptqConfig>(json!({})).unwrap(), GptqConfig::default());
    assert_eq!(serde_json::from_value::<RtnConfig>(json!({})).unwrap(), RtnConfig::default());
    let searched: RtnConfig = serde_json::from_value(json!({ "mse": {}, "bits": 3 })).unwrap();
    assert_eq!((searched.mse, searched.bits.get()), (Some(MseSearch::default()), 3));
    assert_eq!(MseSearch::default().candidates(), 80);
}

#[test]
fn unknown_keys_and_widths_are_refused() {
    assert!(serde_json::from_value::<GptqConfig>(json!({ "desc_act": true })).is_err());
    assert!(serde_json::from_value::<RtnConfig>(json!({ "bits": 7 })).is_err());
}

#[test]
fn senseless_values_are_named() {
    let refused = |value: Value| serde_json::from_value::<GptqConfig>(value).unwrap().validate().unwrap_err();
    for (value, name) in [
        (json!({ "damp_percent": -0.1 }), "damp_percent is -0.1"),
        (json!({ "block_size": 0 }), "block_size is 0"),
        (json!({ "mse": { "max_shrink": 1.5 } }), "mse.max_shrink is 1.5"),
        (json!({ "mse": { "grid": 1, "max_shrink": 0.5 } }), "mse.grid"),
        (json!({ "mse": { "norm": 0.0 } }), "mse.norm is 0"),
    ] {
        let message = refused(value).to_string();
        assert!(message.starts_with(name), "{message}");
    }
}

#[test]
fn a_group_size_that_does_not_divide_names_both() {
    let message = GroupSizing::Columns(48).resolve(100).unwrap_err().to_string();
    assert!(message.contains("48") && message.contains("100"), "{message}");
}

/// Every option is described, nothing else is allowed, and the defaults are in the schema.
#[cfg(feature = "schema")]
#[test]
fn the_schema_documents_every_option() {
    for schema in [schemars::schema_for!(GptqConfig), schemars::schema_for!(RtnConfig)] {
        let schema = schema.to_value();
        assert_eq!(schema["additionalProperties"], json!(false));
        for (name, property) in schema["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{name} has no description");
            assert!(property.get("default").is_some(), "{name} has no default");
        }
        assert_eq!(schema["properties"]["bits"]["enum"], json!([2, 3, 4, 5, 6, 8]));
    }
}
