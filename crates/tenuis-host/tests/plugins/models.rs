//! Model techniques: what they are given arrives, what they hand back is checked, and faults stay contained.

use super::fixture;
use crate::support::{Site, dense, manifest_of};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tenuis_core::{
    Bits, Bytes, Checkpoint, CheckpointWriter, DType, GroupSize, GroupedInt, GroupedIntSpec, StoredType,
    Tensor, Weight, WriterOptions,
};
use tenuis_host::{
    GroupInput, HostEvents, LinearInput, ModelCheckpoint, ModelInput, ModelOutput, NoEvents, OutputProblem,
    PluginError, Scope, Status, TokenSequences, TokenSource,
};

fn floats(values: &[f32]) -> Tensor {
    Tensor::from_f32(DType::F32, vec![values.len()], values).unwrap()
}

/// 4 bits, 2 × 4, codes 0 to 7: `w = code − 8`.
fn packed() -> Weight {
    let spec = GroupedIntSpec {
        bits: Bits::new(4).unwrap(),
        group_size: GroupSize::Channel,
        symmetric: true,
        scale_dtype: DType::F16,
        group_index: false,
    };
    let codes: Vec<u8> = (0..8).collect();
    Arc::new(GroupedInt::from_codes(spec, [2, 4], &codes, &[1.0, 1.0], None, None).unwrap())
}

/// A norm, a dense and a compressed weight, a tensor to drop, one of integers, and one of a type that nobody knows.
fn checkpoint(value: f32, layers: u64) -> ModelCheckpoint {
    let mut model = ModelCheckpoint::new(json!({ "layers": layers }), json!({ "blocks": [layers] }));
    model.weights.insert("dense".to_owned(), dense(3, 2, |i| value + i as f32));
    model.weights.insert("packed".to_owned(), packed());
    model.tensors.insert("norm.weight".to_owned(), floats(&[value; 4]));
    model.tensors.insert("drop.weight".to_owned(), floats(&[0.0; 2]));
    model.tensors.insert("ids".to_owned(), Tensor::from_vec(DType::I64, vec![1], vec![3i64]).unwrap());
    let unknown = StoredType::Unknown("F4".into());
    let unknown = Tensor::new(unknown, vec![3], Bytes::from_vec(vec![1u8, 2])).unwrap();
    model.tensors.insert("strange".to_owned(), unknown);
    model
}

#[derive(Default)]
struct Recorder {
    lines: Mutex<Vec<String>>,
    cancel: AtomicBool,
}

impl HostEvents for Recorder {
    fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    fn progress(&self, done: u64, total: u64, note: &str) {
        self.lines.lock().unwrap().push(format!("{done}/{total} {note}"));
    }

    fn metric_at(&self, key: &str, step: u64, value: f64) {
        self.lines.lock().unwrap().push(format!("{key}[{step}] = {value}"));
    }
}

/// Everything that the ABI can pass to a model technique, there and back.
#[test]
fn a_model_with_everything_arrives_whole() {
    let site = fixture();
    let registry = site.discover();
    let technique = registry.require("average").unwrap();
    assert_eq!(technique.scope(), Scope::Model);
    let caps = technique.capabilities();
    assert!(caps.needs_teacher() && caps.needs_tokens() && caps.uses_validation() && caps.deterministic());
    let events = Arc::new(Recorder::default());
    let mut job = technique.start_model(&json!({ "share": 0.25 }), 2, events.clone()).unwrap();
    job.accepts(&json!({ "kind": "dense" })).unwrap();
    let refused = job.accepts(&json!({ "kind": "unheard_of" })).unwrap_err();
    assert!(matches!(refused, PluginError::Failed { status: Status::Unsupported, .. }), "{refused}");

    let state = tempfile::TempDir::new().unwrap();
    let (train, valid) = (TokenSequences::new((0..7).collect(), 3), TokenSequences::new(vec![5; 4], 2));
    let (student, teacher) = (Arc::new(checkpoint(1.0, 2)), Arc::new(checkpoint(5.0, 6)));
    let loss = |candidate: &ModelOutput| {
        Ok(candidate.tensors.len() as f64 + if candidate.config.is_some() { 100.0 } else { 0.0 })
    };
    let input = || {
        let mut input = ModelInput::new(Arc::clone(&student));
        input.teacher = Some(Arc::clone(&teacher));
        input.train = Some(&train);
        input.valid = Some(&valid);
        input.statistics = BTreeMap::from([("block_similarity".to_owned(), floats(&[0.5, 0.75]))]);
        input.state_dir = Some(state.path().to_owned());
        input.eval_loss = Some(&loss);
        input
    };
    // norm 4, drop 2, ids 1, dense 6, packed 2 words, 2 scales and 2 extents.
    let estimate = job.estimate(&input()).unwrap();
    let own = 4 * (4 + 2 + 1 + 6 + 2 + 2 + 2);
    // A worker is given a copy of the checkpoints, which counts.
    assert!(
        if technique.is_isolated() { estimate > Some(own) } else { estimate == Some(own) },
        "{estimate:?}"
    );
    let output = job.run(input()).unwrap();

    let names: Vec<&str> = output.tensors.keys().map(String::as_str).collect();
    assert_eq!(names, ["dense.weight", "norm.weight", "taken.weight"]);
    assert_eq!(output.tensors["norm.weight"].to_f32().unwrap()[..], [4.0; 4]);
    assert_eq!(output.tensors["dense.weight"].to_f32().unwrap()[..], [4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
    assert_eq!(output.weights["packed"].kind(), "dense");
    assert_eq!(output.weights["packed"].to_dense().unwrap(), packed().to_dense().unwrap());
    assert_eq!(output.removals, BTreeSet::from(["drop.weight".to_owned()]));
    assert_eq!(output.config, Some(json!({ "layers": 7, "spec": { "blocks": [2] } })));
    let copied = &output.tensors["taken.weight"];
    assert_eq!(copied.data().as_ptr(), teacher.tensors["norm.weight"].data().as_ptr(), "no copy in memory");
    assert!(Arc::ptr_eq(&output.weights["moved"], &student.weights["packed"]));
    let expected = [("valid", 20.0), ("similarity", 0.75), ("loss", 100.0), ("runs", 1.0)];
    assert_eq!(output.metrics, expected.map(|(key, value)| (key.to_owned(), value)));
    assert_eq!(output.log[0].message, "made");
    let lines = std::mem::take(&mut *events.lines.lock().unwrap());
    assert_eq!(lines[..3], ["sum[0] = 3", "sum[1] = 15", "0/7 dense.weight"]);

    let again = job.run(input()).unwrap();
    assert_eq!(again.metrics.last(), Some(&("runs".to_owned(), 2.0)), "the state directory is the same");
    assert_eq!(again.tensors.len(), output.tensors.len());
}

/// Spoils an input.
type Change = dyn Fn(&mut ModelInput<'_>);

#[test]
fn what_a_technique_needs_must_be_there_before_it_is_called() {
    let site = fixture();
    let registry = site.discover();
    let technique = registry.require("average").unwrap();
    let events = Arc::new(Recorder::default());
    let mut job = technique.start_model(&json!({}), 1, events.clone()).unwrap();
    let teacher = Arc::new(checkpoint(5.0, 6));
    let train = TokenSequences::new(vec![0; 8], 4);
    let mut message = |change: &Change| {
        let mut input = ModelInput::new(checkpoint(1.0, 2));
        input.teacher = Some(Arc::clone(&teacher));
        input.train = Some(&train);
        change(&mut input);
        let error = job.run(input).unwrap_err();
        assert!(matches!(error, PluginError::Input { .. }), "{error}");
        error.to_string()
    };
    let cases: [(&Change, &str); 6] = [
        (&|input| input.teacher = None, "it needs a teacher, and there is none"),
        (&|input| input.train = None, "it needs tokens, and there are none"),
        (&|input| input.state_dir = Some("/nowhere/at/all".into()), "create it first"),
        (&|input| input.state_dir = Some("here".into()), "is not an absolute path"),
        (
            &|input| {
                let mut student = checkpoint(1.0, 2);
                student.tensors.insert("dense.weight".to_owned(), floats(&[0.0]));
                input.student = Arc::new(student);
            },
            "dense.weight is a tensor and a component of a weight at once",
        ),
        (
            &|input| {
                let unknown = input.student.tensors["strange"].clone();
                input.statistics.insert("odd".to_owned(), unknown);
            },
            "statistic \"odd\"",
        ),
    ];
    for (change, part) in cases {
        let found = message(change);
        assert!(found.contains(part), "{found}");
    }
    let short = TokenSequences::new(vec![0; 3], 4);
    let mut input = ModelInput::new(checkpoint(1.0, 2));
    input.teacher = Some(teacher);
    input.train = Some(&short);
    let error = job.run(input).unwrap_err().to_string();
    assert!(error.contains("the training tokens make up no sequence"), "{error}");
    assert!(events.lines.lock().unwrap().is_empty(), "the plugin was not called");
}

#[test]
fn a_technique_is_started_for_its_own_scope() {
    let site = fixture();
    let registry = site.discover();
    let model = registry.require("average").unwrap().start(&json!({}), 1, Arc::new(NoEvents)).unwrap_err();
    assert_eq!(model.to_string(), "technique \"average\" has scope model, asked for scope group");
    let group = registry.require("probe").unwrap().start_model(&json!({}), 1, Arc::new(NoEvents));
    assert_eq!(group.unwrap_err().to_string(), "technique \"probe\" has scope group, asked for scope model");
    let options =
        registry.require("average").unwrap().start_model(&json!({ "share": 2 }), 1, Arc::new(NoEvents));
    assert!(matches!(options, Err(PluginError::Options { .. })));
}

fn run(how: &str) -> Result<ModelOutput, PluginError> {
    run_on(how, checkpoint(1.0, 2))
}

fn run_on(how: &str, student: ModelCheckpoint) -> Result<ModelOutput, PluginError> {
    let site = fixture();
    let registry = site.discover();
    let technique = registry.require("misbehave_model").unwrap();
    technique
        .start_model(&json!({ "how": how }), 1, Arc::new(NoEvents))
        .unwrap()
        .run(ModelInput::new(student))
}

#[test]
fn outputs_are_distrusted() {
    let cases = [
        ("nan", "norm.weight", "value NaN at element 1"),
        ("nan_weight", "dense", "value NaN at row 0, column 0"),
        ("unwritten", "norm.weight", "it was not written at byte 8 of 16"),
        ("integers", "norm.weight", "its element type is i32, and the tensor that it replaces is f32"),
        ("not_allocated", "norm.weight", "it was never allocated"),
        ("twice", "norm.weight", "it was emitted before; retract that first"),
        ("twice_in_parts", "dense", "it was emitted before; retract that first"),
        ("remove_unknown", "nobody.weight", "the checkpoint has no tensor or weight of that name"),
        ("remove_emitted", "norm.weight", "it was emitted before; retract that first"),
        ("emit_removed", "norm.weight", "it was removed before; retract that first"),
        (
            "remove_component",
            "packed.weight_scale",
            "it belongs to weight \"packed\", which is stored as grouped_int; emit or remove the weight as a whole",
        ),
        (
            "emit_component",
            "packed.weight_scale",
            "it belongs to weight \"packed\", which is stored as grouped_int; emit or remove the weight as a whole",
        ),
        ("beside", "drop", "drop.weight is a tensor of the checkpoint and no weight's; remove it first"),
        ("config_list", "config.json", "the new configuration is not a JSON object"),
        ("copy_unknown", "new.weight", "the checkpoint has no tensor or weight of that name"),
        ("copy_teacher", "new.weight", "there is no teacher to copy from"),
        ("name", "__metadata__", "safetensors reserves this name"),
    ];
    for (how, name, message) in cases {
        match run(how).unwrap_err() {
            PluginError::Output { weight, problem, .. } => {
                assert_eq!((weight.as_str(), problem.to_string().as_str()), (name, message), "{how}");
            }
            other => panic!("{how}: {other}"),
        }
    }
    for (how, part) in [
        ("config_text", "the new configuration is not JSON: EOF"),
        ("huge", "f32 [1048576, 1048576] is more than"),
        ("retract_needed", "drop.weight: it was emitted before; retract that first"),
        ("bias", "component \"bias\": a component's name has no empty parts and is not that of a bias"),
        ("retract_nothing", "norm.weight: nothing was emitted or removed under that name"),
    ] {
        let error = run(how).unwrap_err().to_string();
        assert!(error.contains(part), "{how}: {error}");
    }
}

#[test]
fn a_technique_that_behaves_is_not_suspected() {
    let nothing = run("nothing").unwrap();
    assert!(nothing.tensors.is_empty() && nothing.weights.is_empty() && nothing.config.is_none());
    run("to_weight").unwrap();
    run("loss").unwrap();
}

#[test]
fn what_was_taken_back_is_gone() {
    let again = run("retract").unwrap();
    assert_eq!(again.tensors["norm.weight"].to_f32().unwrap()[1], 4.0);
    let all = run("retract_all").unwrap();
    assert!(all.tensors.is_empty() && all.removals.is_empty() && all.config.is_none());
    assert_eq!(run("config_mended").unwrap().config, Some(json!({ "layers": 7 })));
}

#[test]
fn a_tensor_becomes_a_weight_once_it_is_removed() {
    let output = run("quantize").unwrap();
    assert_eq!(output.weights["drop"].kind(), "grouped_int");
    assert_eq!(output.removals, BTreeSet::from(["drop.weight".to_owned()]));
}

/// A checkpoint that holds a NaN may keep it; one that did not may not get it.
#[test]
fn a_value_that_was_not_finite_before_may_stay() {
    let mut student = checkpoint(1.0, 2);
    student.tensors.insert("norm.weight".to_owned(), floats(&[1.0, f32::INFINITY, 1.0, 1.0]));
    assert!(run_on("nan", student.clone()).unwrap().tensors["norm.weight"].to_f32().unwrap()[1].is_nan());
    assert!(run_on("nan_weight", student.clone()).is_err());
    student.weights.insert("dense".to_owned(), dense(1, 2, |_| f32::NAN));
    assert!(run_on("nan_weight", student).is_ok());
}

#[test]
fn a_panic_is_reported_and_ends_the_job() {
    let site = fixture();
    let registry = site.discover();
    let technique = registry.require("misbehave_model").unwrap();
    let mut job = technique.start_model(&json!({ "how": "panic" }), 1, Arc::new(NoEvents)).unwrap();
    match job.run(ModelInput::new(checkpoint(1.0, 2))).unwrap_err() {
        PluginError::Panicked { call: "model_run", message, .. } => assert_eq!(message, "on purpose"),
        other => panic!("{other}"),
    }
    let later = job.run(ModelInput::new(checkpoint(1.0, 2))).unwrap_err();
    assert!(matches!(later, PluginError::Poisoned { .. }), "{later}");
}

#[test]
fn a_job_stops_soon_after_it_is_cancelled() {
    let site = fixture();
    let registry = site.discover();
    let events = Arc::new(Recorder::default());
    let technique = registry.require("misbehave_model").unwrap();
    let mut job = technique.start_model(&json!({ "how": "wait" }), 1, events.clone()).unwrap();
    let running = std::thread::spawn(move || job.run(ModelInput::new(checkpoint(1.0, 2))));
    std::thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    events.cancel.store(true, Ordering::Relaxed);
    assert!(matches!(running.join().unwrap(), Err(PluginError::Cancelled { .. })));
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
}

/// A source or a loss of ours that fails or panics must not unwind through the plugin.
#[test]
fn faults_of_the_host_are_contained() {
    struct Torn {
        panics: bool,
    }
    impl TokenSource for Torn {
        fn sequences(&self) -> usize {
            1
        }
        fn sequence_length(&self) -> usize {
            2
        }
        fn hash(&self) -> Option<&str> {
            Some("0000000000000000000000000000000000000000000000000000000000000000")
        }
        fn read(&self, _: usize, _: &mut [u32]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            assert!(!self.panics, "torn");
            Err("the file is gone".into())
        }
    }
    let site = fixture();
    let registry = site.discover();
    let run = |source: &Torn| {
        let mut job =
            registry.require("average").unwrap().start_model(&json!({}), 1, Arc::new(NoEvents)).unwrap();
        let mut input = ModelInput::new(checkpoint(1.0, 2));
        input.teacher = Some(Arc::new(checkpoint(1.0, 2)));
        input.train = Some(source);
        job.run(input).unwrap_err()
    };
    let error = run(&Torn { panics: false });
    assert!(matches!(error, PluginError::Failed { status: Status::Io, .. }), "{error}");
    assert!(error.to_string().contains("tokens: the file is gone"), "{error}");
    match run(&Torn { panics: true }) {
        PluginError::Output { problem, .. } => {
            assert!(matches!(*problem, OutputProblem::HostPanic { ref message } if message == "torn"));
        }
        other => panic!("{other}"),
    }
}

/// The views lie in the mapped files: nothing is read that the technique does not look at.
#[test]
fn an_open_checkpoint_is_lent_without_a_copy() {
    let dir = tempfile::TempDir::new().unwrap();
    let target = dir.path().join("model");
    let mut writer = CheckpointWriter::create(&target, &[], WriterOptions::default()).unwrap();
    writer.put("norm.weight", &floats(&[2.0; 4])).unwrap();
    writer.put("drop.weight", &floats(&[0.0; 2])).unwrap();
    writer.put_weight("dense", &*dense(3, 2, |i| i as f32)).unwrap();
    writer.put("dense.bias", &floats(&[1.0; 3])).unwrap();
    writer.finish(&json!({ "layers": 1 }), Value::Null).unwrap();

    let opened = Checkpoint::open(&target).unwrap();
    let weight = dense(3, 2, |i| i as f32);
    let weights = BTreeMap::from([("dense".to_owned(), weight)]);
    let student = Arc::new(ModelCheckpoint::from_checkpoint(&opened, json!({}), weights).unwrap());
    assert_eq!(student.tensors.keys().collect::<Vec<_>>(), ["dense.bias", "drop.weight", "norm.weight"]);
    let mapped = opened.tensor("norm.weight").unwrap();
    assert_eq!(student.tensors["norm.weight"].data().as_ptr(), mapped.data().as_ptr());
    let site = fixture();
    let registry = site.discover();
    let mut job =
        registry.require("average").unwrap().start_model(&json!({}), 1, Arc::new(NoEvents)).unwrap();
    let train = TokenSequences::new(vec![1; 4], 4);
    let mut input = ModelInput::new(Arc::clone(&student));
    input.teacher = Some(student);
    input.train = Some(&train);
    // There is nothing in this checkpoint that the technique could move.
    let error = job.run(input).unwrap_err().to_string();
    assert!(error.contains("\"moved\": the checkpoint has no tensor or weight of that name"), "{error}");
}

/// A plugin in C: model scope, written against the header alone.
const C_MODEL: &str = r#"
#include <string.h>
#define S(x) {x, sizeof(x) - 1}
static const tn_host *HOST;
static int32_t fail(tn_err *err, const char *text) {
  err->len = (uint32_t)strlen(text);
  memcpy(err->msg, text, err->len);
  return TN_INVALID;
}
static int32_t create(const tn_host *host, tn_str config, void **job, tn_err *err) {
  (void)config; (void)err;
  HOST = host;
  *job = &HOST;
  return TN_OK;
}
static void destroy(void *job) { (void)job; }
static int32_t run(void *job, const tn_model *model, tn_err *err) {
  (void)job;
  const tn_checkpoint *student = model->student;
  if (!TN_HAS(HOST, tn_host, retract) || model->teacher || student->n_weights != 2) return fail(err, "what is given");
  float rows[4];
  int32_t status = student->decode(student->ctx, 1, 1, 1, rows, err);
  if (status != TN_OK) return status;
  if (student->decode(student->ctx, 1, 2, 1, rows, err) == TN_OK) return fail(err, "a row too many was decoded");
  if (student->decode(student->ctx, 9, 0, 1, rows, err) == TN_OK) return fail(err, "a weight too many was decoded");
  tn_str name = S("row");
  tn_str none = S("");
  tn_dtype f32 = {TN_DTYPE_FLOAT, 32, 1};
  int64_t shape[1] = {4};
  void *data;
  status = HOST->out_alloc(HOST->ctx, name, none, f32, 1, shape, &data, NULL, err);
  if (status != TN_OK) return status;
  memcpy(data, rows, sizeof rows);
  BEHIND
  return HOST->emit_tensor(HOST->ctx, name, err);
}
static const tn_technique T = {
  .struct_size = sizeof(tn_technique), .scope = TN_SCOPE_MODEL, .id = S("c_model"), .version = S("1"),
  .config_schema = S("{\"type\":\"object\",\"additionalProperties\":false}"),
  .create = create, .model_run = run, .destroy = destroy,
};
static const tn_technique *const ALL[] = {&T};
static const tn_plugin P = {.magic = TN_MAGIC, .struct_size = sizeof(tn_plugin), .abi_major = TN_ABI_MAJOR,
                            .n_techniques = 1, .techniques = ALL};
TN_EXPORT const tn_plugin *tenuis_plugin_v1(uint32_t m) { (void)m; return &P; }
"#;

#[test]
fn a_model_technique_can_be_written_in_c() {
    let run = |behind: &str| {
        let code = C_MODEL.replace("BEHIND", behind);
        let site = Site::new("c_model").manifest(&manifest_of(&["c_model"])).c_code(&code);
        let registry = site.discover();
        let technique = registry.require("c_model").unwrap();
        let mut job = technique.start_model(&json!({}), 1, Arc::new(NoEvents)).unwrap();
        let input = ModelInput::new(checkpoint(1.0, 2));
        assert_eq!(job.estimate(&input).unwrap(), None);
        job.run(input)
    };
    let output = run("").unwrap();
    assert_eq!(output.tensors["row"].to_f32().unwrap()[..], [-4.0, -3.0, -2.0, -1.0]);
    let error = run("((unsigned char *)data)[16] ^= 0xff;").unwrap_err().to_string();
    assert_eq!(error, "technique \"c_model\" returned a bad \"row\": it was written past its end");
}

/// A group technique has no use for the functions of the other scope, and is told so.
#[test]
fn the_functions_of_the_other_scope_are_refused() {
    let code = C_MODEL
        .replace("TN_SCOPE_MODEL", "TN_SCOPE_GROUP")
        .replace(".model_run = run", ".group_begin = begin, .group_finish = finish")
        .replace("static const tn_technique T", "static int32_t begin(void *job, const tn_group *group, tn_err *err) {\
            (void)job; (void)group; (void)err; return TN_OK; }\n\
            static int32_t finish(void *job, const tn_group *group, tn_err *err) {\
            (void)job; (void)group; (void)run; tn_str name = S(\"w\"); return HOST->remove(HOST->ctx, name, err); }\n\
            static const tn_technique T")
        .replace("BEHIND", "");
    let site = Site::new("c_group").manifest(&manifest_of(&["c_model"])).c_code(&code);
    let registry = site.discover();
    let mut job = registry.require("c_model").unwrap().start(&json!({}), 1, Arc::new(NoEvents)).unwrap();
    let group = GroupInput::new(vec![LinearInput::new("w", dense(2, 4, |_| 1.0))]);
    let error = job.run(group).unwrap_err().to_string();
    assert!(error.contains("is for techniques of scope model only (not supported)"), "{error}");
}
