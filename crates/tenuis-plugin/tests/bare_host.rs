//! A plugin under a host that offers less than it could, or passes nonsense.

#![expect(unsafe_code, reason = "plays the host's part")]
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use std::mem::{offset_of, size_of};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};
use tenuis_abi as abi;
use tenuis_abi::{tn_err, tn_group, tn_host, tn_str, tn_technique};
use tenuis_plugin::{
    Capabilities, Emitter, Group, GroupTechnique, Host, LogLevel, TechniqueError, schemars, serde,
};

struct Lonely;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Options {
    /// How often.
    times: u64,
}

static SUM: AtomicU64 = AtomicU64::new(0);

impl GroupTechnique for Lonely {
    const ID: &'static str = "lonely";
    const VERSION: &'static str = "1.2.3";
    const CAPABILITIES: Capabilities = Capabilities::PARALLEL_JOBS.and(Capabilities::ANY_TENSOR);
    type Config = Options;

    fn new(config: Options, host: &Host<'_>) -> Result<Self, TechniqueError> {
        host.log(LogLevel::Info, "nobody listens");
        host.metric("nothing", 0.0);
        host.progress(0, 0, "");
        host.check_cancelled()?;
        host.parallel_for(config.times, |i| {
            // Only one of the tests, which run at the same time, asks for five.
            if config.times == 5 {
                SUM.fetch_add(i, Ordering::Relaxed);
            }
            if i == 5 { Err(TechniqueError::numerical("five")) } else { Ok(()) }
        })?;
        assert_eq!(host.thread_budget(), 1);
        Ok(Self)
    }

    fn process(&mut self, group: &Group<'_>, out: &mut Emitter<'_>) -> Result<(), TechniqueError> {
        assert!(group.linears().is_empty());
        out.fold("w", &[1.0])
    }
}

mod exported {
    tenuis_plugin::export_plugin!(super::Lonely);
}

fn table() -> &'static tn_technique {
    let plugin = exported::tenuis_plugin_v1(0);
    assert_eq!(plugin, exported::tenuis_plugin_v1(7), "the same table at every call");
    // SAFETY: the entry point returns a plugin with one technique, for ever.
    let (plugin, table) = unsafe { (&*plugin, &**(*plugin).techniques) };
    assert_eq!((plugin.magic, plugin.abi_major, plugin.n_techniques), (abi::TN_MAGIC, 1, 1));
    table
}

/// A host whose struct ends before its functions.
fn bare() -> tn_host {
    // SAFETY: zeros are a host without functions.
    let mut host: tn_host = unsafe { std::mem::zeroed() };
    host.struct_size = offset_of!(tn_host, cancelled) as u32;
    // Beyond its size nothing may be read.
    host.cancelled = Some(trap);
    host
}

unsafe extern "C" fn trap(_: *mut std::ffi::c_void) -> i32 {
    std::process::abort()
}

fn create(host: *const tn_host, options: &str) -> (i32, String, *mut std::ffi::c_void) {
    let (mut job, mut error) = (null_mut(), tn_err::default());
    // SAFETY: everything outlives the call.
    let status = unsafe { table().create.unwrap()(host, tn_str::new(options), &raw mut job, &raw mut error) };
    (status, error.message(), job)
}

#[test]
fn functions_that_a_host_does_not_offer_are_done_without() {
    let host = bare();
    let (status, message, job) = create(&raw const host, r#"{"times": 5}"#);
    assert_eq!((status, message.as_str(), SUM.load(Ordering::Relaxed)), (abi::TN_OK, "", 10));
    // SAFETY: zeros are a group without members.
    let mut group: tn_group = unsafe { std::mem::zeroed() };
    group.struct_size = size_of::<tn_group>() as u32;
    let mut error = tn_err::default();
    // SAFETY: the job of this table, and a group that outlives the call.
    let status = unsafe { table().group_finish.unwrap()(job, &raw const group, &raw mut error) };
    assert_eq!((status, error.message().as_str()), (abi::TN_UNSUPPORTED, "the host has no function fold"));
    // SAFETY: the job is not used again.
    unsafe { table().destroy.unwrap()(job) };
}

#[test]
fn options_and_pointers_that_are_wrong_are_refused() {
    let host = bare();
    let (status, message, _) = create(&raw const host, r#"{"times": -1}"#);
    assert_eq!(status, abi::TN_INVALID);
    assert!(message.contains("-1"), "{message}");
    let (status, message, _) = create(std::ptr::null(), r#"{"times": 1}"#);
    assert_eq!((status, message.as_str()), (abi::TN_INVALID, "host or job is null"));
    // SAFETY: null is what is tested; it is refused, or ignored.
    unsafe {
        let mut error = tn_err::default();
        let status = table().group_begin.unwrap()(null_mut(), std::ptr::null(), &raw mut error);
        assert_eq!((status, error.message().as_str()), (abi::TN_INVALID, "the job is null"));
        assert_eq!(table().group_begin.unwrap()(null_mut(), std::ptr::null(), null_mut()), abi::TN_INVALID);
        table().destroy.unwrap()(null_mut());
    }
}

#[test]
fn a_failure_in_a_loop_stops_it() {
    let host = bare();
    let (status, message, _) = create(&raw const host, r#"{"times": 50}"#);
    assert_eq!((status, message.as_str()), (abi::TN_NUMERICAL, "five"));
}

#[test]
fn the_table_describes_the_technique() {
    let table = table();
    // SAFETY: texts of a table live for ever.
    let text = |t| unsafe { abi::read_text(t, 1 << 20) }.unwrap();
    assert_eq!((text(table.id), text(table.version)), ("lonely", "1.2.3"));
    assert_eq!(table.caps, abi::TN_PARALLEL_JOBS | abi::TN_ANY_TENSOR);
    assert!(table.decode.is_none() && table.n_kinds == 0);
    let schema: serde_json::Value = serde_json::from_str(text(table.config_schema)).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["times"]["description"], "How often.");
}
