//! A model technique under a host that offers less than it could, or passes nonsense.

#![expect(unsafe_code, reason = "plays the host's part")]
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use std::mem::{offset_of, size_of};
use std::ptr::{null, null_mut};
use tenuis_abi as abi;
use tenuis_abi::{tn_checkpoint, tn_err, tn_host, tn_model, tn_str, tn_technique, tn_tokens};
use tenuis_plugin::core::DType;
use tenuis_plugin::serde_json::json;
use tenuis_plugin::{
    Capabilities, Host, Model, ModelEmitter, ModelTechnique, Source, TechniqueError, schemars, serde,
};

struct Lonely;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct NoOptions {}

impl ModelTechnique for Lonely {
    const ID: &'static str = "lonely_model";
    const VERSION: &'static str = "1.2.3";
    const CAPABILITIES: Capabilities = Capabilities::NEEDS_TEACHER.and(Capabilities::NEEDS_TOKENS);
    type Config = NoOptions;

    fn new(_config: NoOptions, host: &Host<'_>) -> Result<Self, TechniqueError> {
        host.metric_at("nothing", 1, 0.0);
        Ok(Self)
    }

    fn run(&mut self, model: &Model<'_>, out: &mut ModelEmitter<'_>) -> Result<(), TechniqueError> {
        let student = model.student();
        assert_eq!((student.config_json(), student.hash(), student.tensors().len()), ("{}", None, 0));
        assert!(model.teacher().is_none() && model.state_dir().is_none() && model.statistic("x").is_none());
        assert_eq!(out.eval_loss(), Ok(None));
        let refused = [
            model.require_teacher().map(|_| ()),
            student.tensor("w").map(|_| ()),
            student.decode_rows("w", 0..1, &mut []),
            model.train_tokens()?.read(0..3).map(|_| ()),
            model.train_tokens()?.read(0..1).map(|_| ()),
            out.emit_tensor("w", DType::F32, &[2], &[0; 4]),
            out.emit_tensor("w", DType::F32, &[1], &[0; 4]),
            out.commit_tensor("w"),
            out.commit_weight("w", [1, 1], &json!({ "kind": "dense" }), &["weight"]),
            out.emit_copy("w", Source::Student, "v"),
            out.remove("w"),
            out.retract_all(),
            out.set_config(&json!({})),
        ];
        Err(TechniqueError::invalid(refused.map(|r| r.unwrap_err().to_string()).join("\n")))
    }
}

mod exported {
    tenuis_plugin::export_plugin!(super::Lonely);
}

/// A struct of zeros: no function, no tensor.
fn zeros<T: abi::Extensible>() -> T {
    // SAFETY: the trait says that zeros are a valid value.
    unsafe { std::mem::zeroed() }
}

fn table() -> &'static tn_technique {
    // SAFETY: the entry point returns a plugin with one technique, for ever.
    unsafe { &**(*exported::tenuis_plugin_v1(0)).techniques }
}

fn run(model: *const tn_model) -> (i32, String) {
    let mut host = zeros::<tn_host>();
    host.struct_size = offset_of!(tn_host, cancelled) as u32;
    let (mut job, mut error) = (null_mut(), tn_err::default());
    // SAFETY: everything outlives the calls; the job is freed once and not used again.
    unsafe {
        let status =
            table().create.unwrap()(&raw const host, tn_str::new("{}"), &raw mut job, &raw mut error);
        assert_eq!((status, error.message().as_str()), (abi::TN_OK, ""));
        let estimate = table().model_estimate.unwrap()(job, model, null_mut(), &raw mut error);
        assert!(estimate == abi::TN_UNSUPPORTED || estimate == abi::TN_INVALID);
        let status = table().model_run.unwrap()(job, model, &raw mut error);
        table().destroy.unwrap()(job);
        (status, error.message())
    }
}

#[test]
fn the_table_is_that_of_a_model_technique() {
    let table = table();
    assert_eq!(
        (table.scope, table.caps),
        (abi::TN_SCOPE_MODEL, abi::TN_NEEDS_TEACHER | abi::TN_NEEDS_TOKENS)
    );
    assert!(table.group_begin.is_none() && table.estimate.is_none() && table.decode.is_none());
}

#[test]
fn what_a_host_does_not_offer_is_an_error_and_no_crash() {
    let mut student = zeros::<tn_checkpoint>();
    student.struct_size = size_of::<tn_checkpoint>() as u32;
    student.config_json = tn_str::new("{}");
    let mut tokens = zeros::<tn_tokens>();
    tokens.struct_size = size_of::<tn_tokens>() as u32;
    (tokens.n_sequences, tokens.sequence_length) = (2, 4);
    let mut model = zeros::<tn_model>();
    model.struct_size = size_of::<tn_model>() as u32;
    model.student = &raw const student;
    model.train = &raw const tokens;
    let (status, message) = run(&raw const model);
    assert_eq!(status, abi::TN_INVALID);
    let expected = [
        "there is no teacher; name one, or ask for it with NEEDS_TEACHER",
        "w: the checkpoint has no tensor of this name and a known type",
        "w: the checkpoint has no module of this name with a weight",
        "sequences 0..3 of 2",
        "the host has no function read",
        "w: 4 bytes for f32 [2]",
        "the host has no function out_alloc",
        "the host has no function emit_tensor",
        "the host has no function emit_weight",
        "the host has no function emit_copy",
        "the host has no function remove",
        "the host has no function retract",
        "the host has no function set_config",
    ];
    assert_eq!(message.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_model_that_is_not_there_is_refused() {
    assert_eq!(run(null()), (abi::TN_INVALID, "the model is null".to_owned()));
    let mut model = zeros::<tn_model>();
    model.struct_size = size_of::<tn_model>() as u32;
    assert_eq!(run(&raw const model), (abi::TN_INVALID, "the student is null".to_owned()));
}
