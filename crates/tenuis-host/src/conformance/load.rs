//! What can be said of a library without a job.

use crate::conformance::{Subject, Verdict};
use crate::library::Functions;
use crate::technique::Technique;
use serde_json::Value;
use std::mem::offset_of;
use tenuis_abi as abi;
use tenuis_abi::tn_technique;

/// The only dialect, with or without the fragment that the specification allows.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Every flag of this version.
const FLAGS: u64 = abi::TN_NEEDS_HESSIAN
    | abi::TN_NEEDS_INPUTS
    | abi::TN_NEEDS_MOMENTS
    | abi::TN_NEEDS_OUT_LOSS
    | abi::TN_PARALLEL_JOBS
    | abi::TN_DETERMINISTIC
    | abi::TN_ANY_TENSOR
    | abi::TN_NEEDS_DENSE
    | abi::TN_NEEDS_ORIGINAL
    | abi::TN_KEEPS_MASK
    | abi::TN_NEEDS_TEACHER
    | abi::TN_NEEDS_TOKENS
    | abi::TN_USES_VALIDATION;

pub(super) fn symbols(subject: &Subject) -> Verdict {
    match subject.load() {
        Ok(registry) => {
            let names: Vec<&str> = registry.techniques().map(Technique::id).collect();
            Verdict::Passed(format!("provides {}", names.join(", ")))
        }
        Err(problem) => Verdict::Failed(problem),
    }
}

pub(super) fn struct_sizes(subject: &Subject) -> Verdict {
    subject.each(|technique| {
        let Functions::Here(raw) = &technique.table().functions else {
            return Verdict::Skipped("runs elsewhere".to_owned());
        };
        // Version 1.0 ends before the first field that was appended.
        let least = offset_of!(tn_technique, model_statistics);
        let size = raw.struct_size as usize;
        if size < least || !size.is_multiple_of(align_of::<tn_technique>()) {
            return Verdict::Failed(format!(
                "struct_size is {size}; set it to sizeof(tn_technique), at least {least}"
            ));
        }
        if raw.reserved != 0 {
            return Verdict::Failed(format!("a reserved field is {}, it must be 0", raw.reserved));
        }
        let unknown = raw.caps & !FLAGS;
        if unknown != 0 {
            return Verdict::Failed(format!(
                "flags {unknown:#x} are not known in version 1.{}",
                abi::TN_ABI_MINOR
            ));
        }
        Verdict::Passed(String::new())
    })
}

pub(super) fn schema(subject: &Subject) -> Verdict {
    // Loading has compiled the schema and checked that it is an object, closed and self-contained.
    subject.each(|technique| {
        if let Some(dialect) = technique.schema().get("$schema").and_then(Value::as_str)
            && dialect.trim_end_matches('#') != DIALECT
        {
            return Verdict::Failed(format!("\"$schema\" is {dialect:?}, expected {DIALECT:?}"));
        }
        let stranger = serde_json::json!({ "no option of any technique": 1 });
        if technique.validate(&stranger).is_ok() {
            return Verdict::Failed("the schema allows options that it does not list".to_owned());
        }
        let properties = technique.schema().get("properties").and_then(Value::as_object);
        let bare = properties.into_iter().flatten().find(|(_, about)| about.get("description").is_none());
        Verdict::Passed(
            bare.map(|(name, _)| format!("option {name:?} has no description")).unwrap_or_default(),
        )
    })
}
