//! The C side of a plugin: the entry point, the tables of group techniques, and the functions that catch panics.

#![expect(unsafe_code, reason = "C functions that receive raw pointers from the host")]

use crate::emit::Emitter;
use crate::error::TechniqueError;
use crate::group::{Group, StoredWeight};
use crate::host::Host;
use crate::technique::{GroupTechnique, Rows};
use crate::tensor::{TensorView, text};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::any::Any;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::mem::size_of;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use tenuis_abi as abi;
use tenuis_abi::{
    TN_OK, read_covered, tn_err, tn_group, tn_host, tn_plugin, tn_str, tn_technique, tn_tensor, tn_weight,
    write_error,
};

/// Exports the techniques of a plugin: `export_plugin!(Rtn, Gptq);` once in a `cdylib`.
///
/// Each is a type that implements [`GroupTechnique`] or [`ModelTechnique`](crate::ModelTechnique), in any order. A build with `panic = "abort"` is refused: a panic could not be caught.
#[macro_export]
macro_rules! export_plugin {
    ($($technique:ty),+ $(,)?) => {
        #[cfg(panic = "abort")]
        compile_error!("a Tenuis plugin needs panic = \"unwind\": its panics are caught and reported");

        /// The entry point of the plugin.
        #[unsafe(no_mangle)]
        pub extern "C" fn tenuis_plugin_v1(host_minor: u32) -> *const $crate::private::tn_plugin {
            static SLOT: $crate::private::Slot = $crate::private::Slot::new();
            $crate::private::entry(&SLOT, host_minor, &[$(|| {
                // Has the method for whichever of the two traits the type implements.
                use $crate::private::tables::*;
                (&$crate::private::Tag::<$technique>::new()).table()
            }),+])
        }
    };
}

/// Holds the tables of a library once they are made.
#[derive(Debug, Default)]
pub struct Slot(OnceLock<Tables>);

impl Slot {
    /// An empty one.
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }
}

#[derive(Debug)]
struct Tables(tn_plugin);

// SAFETY: the pointers lead to leaked constants.
unsafe impl Send for Tables {}
// SAFETY: as above.
unsafe impl Sync for Tables {}

/// The body of the exported function; null where making the tables panics.
pub fn entry(
    slot: &'static Slot,
    _host_minor: u32,
    techniques: &[fn() -> &'static tn_technique],
) -> *const tn_plugin {
    let make = || {
        let tables: Vec<*const tn_technique> = techniques.iter().map(|make| &raw const *make()).collect();
        let tables = tables.leak();
        Tables(tn_plugin {
            magic: abi::TN_MAGIC,
            struct_size: size_of::<tn_plugin>() as u32,
            abi_major: abi::TN_ABI_MAJOR,
            abi_minor: abi::TN_ABI_MINOR,
            min_host_minor: 0,
            n_techniques: tables.len() as u64,
            techniques: tables.as_ptr(),
        })
    };
    catch_unwind(|| &raw const slot.0.get_or_init(make).0).unwrap_or(std::ptr::null())
}

/// Stands for a technique where its table is made.
///
/// `(&Tag::<T>::new()).table()` is [`GroupTable::table`] where `T` is a group technique, and otherwise, one reference
/// further away, [`ModelTable::table`](crate::export_model::ModelTable::table).
#[derive(Debug)]
pub struct Tag<T>(PhantomData<T>);

impl<T> Tag<T> {
    /// A tag.
    #[expect(clippy::new_without_default, reason = "for the export macro only")]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

/// Makes the tables of group techniques.
pub trait GroupTable {
    /// The table. Called once; it lives for ever, as the ABI demands.
    fn table(&self) -> &'static tn_technique;
}

impl<T: GroupTechnique> GroupTable for Tag<T> {
    fn table(&self) -> &'static tn_technique {
        let (kinds, n_kinds) = kinds_of(T::KINDS);
        Box::leak(Box::new(tn_technique {
            struct_size: size_of::<tn_technique>() as u32,
            scope: abi::TN_SCOPE_GROUP,
            caps: T::CAPABILITIES.bits(),
            id: tn_str::new(T::ID),
            version: tn_str::new(T::VERSION),
            config_schema: tn_str::new(schema_of::<T::Config>()),
            n_kinds,
            reserved: 0,
            kinds,
            create: Some(create::<T>),
            accepts: Some(accepts::<T>),
            estimate: Some(estimate::<T>),
            group_begin: Some(group_begin::<T>),
            group_tile: Some(group_tile::<T>),
            group_finish: Some(group_finish::<T>),
            model_run: None,
            model_estimate: None,
            destroy: Some(destroy::<T>),
            decode: (!T::KINDS.is_empty()).then_some(decode::<T>),
            ext: None,
            model_statistics: None,
        }))
    }
}

pub(crate) fn kinds_of(kinds: &'static [&'static str]) -> (*const tn_str, u32) {
    let kinds = kinds.iter().map(|kind| tn_str::new(kind)).collect::<Vec<_>>().leak();
    (kinds.as_ptr(), kinds.len() as u32)
}

/// The schema of the options, which lives for ever.
pub(crate) fn schema_of<C: JsonSchema>() -> &'static str {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema: Value = generator.into_root_schema_for::<C>().to_value();
    // Options that are not known are refused with a path by the host, not with a position by the parser.
    if let Some(object) = schema.as_object_mut() {
        object.entry("additionalProperties").or_insert(json!(false));
    }
    schema.to_string().leak()
}

/// What the host knows as the job.
pub(crate) struct Job<T> {
    pub(crate) technique: T,
    pub(crate) host: tn_host,
}

/// Runs `work`; a failure or a panic becomes a status and a message.
///
/// # Safety
/// `err` is null or a `tn_err` of the host.
pub(crate) unsafe fn guarded(err: *mut tn_err, work: impl FnOnce() -> Result<(), TechniqueError>) -> i32 {
    let (status, message) = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => return TN_OK,
        Ok(Err(error)) => (error.kind().status(), error.to_string()),
        Err(payload) => (abi::TN_PANIC, panic_message(payload)),
    };
    // SAFETY: the caller vouches for it.
    unsafe { write_error(err, &message) };
    status
}

pub(crate) fn panic_message(payload: Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    // Dropping a payload runs code of its author, which may panic again.
    std::mem::forget(payload);
    text.unwrap_or_else(|| "no message".to_owned())
}

/// # Safety
/// `job` is a job of this technique that no other call uses at the same time.
pub(crate) unsafe fn job_of<'a, T>(job: *mut c_void) -> Result<&'a mut Job<T>, TechniqueError> {
    // SAFETY: the caller vouches for it.
    unsafe { job.cast::<Job<T>>().as_mut() }.ok_or_else(|| TechniqueError::invalid("the job is null"))
}

unsafe extern "C" fn create<T: GroupTechnique>(
    host: *const tn_host,
    config_json: tn_str,
    job: *mut *mut c_void,
    err: *mut tn_err,
) -> i32 {
    // SAFETY: the host's pointers.
    unsafe { create_job(host, config_json, job, err, T::new) }
}

/// Makes a job of options, of either scope.
///
/// # Safety
/// The pointers are those that the host passes to `create`.
pub(crate) unsafe fn create_job<T, C: DeserializeOwned>(
    host: *const tn_host,
    config_json: tn_str,
    job: *mut *mut c_void,
    err: *mut tn_err,
    new: impl FnOnce(C, &Host<'_>) -> Result<T, TechniqueError>,
) -> i32 {
    let work = || {
        // SAFETY: the host's table, which outlives the job, and its text, here and below by the ABI.
        let (raw, config) = unsafe { (read_covered(host), text(config_json)?) };
        let raw =
            raw.filter(|_| !job.is_null()).ok_or_else(|| TechniqueError::invalid("host or job is null"))?;
        let config = if config.is_empty() { "{}" } else { config };
        let config: C = serde_json::from_str(config).map_err(TechniqueError::invalid)?;
        // SAFETY: as above; the value ends with this call.
        let technique = new(config, &unsafe { Host::new(raw) })?;
        let made = Box::into_raw(Box::new(Job { technique, host: raw }));
        // SAFETY: not null, and the host's place for it.
        unsafe { *job = made.cast() };
        Ok(())
    };
    // SAFETY: the host's error buffer.
    unsafe { guarded(err, work) }
}

unsafe extern "C" fn accepts<T: GroupTechnique>(
    job: *mut c_void,
    descriptor: tn_str,
    err: *mut tn_err,
) -> i32 {
    let work = || {
        // SAFETY: the host passes its own job and text.
        let (job, descriptor) = unsafe { (job_of::<T>(job)?, text(descriptor)?) };
        let descriptor = serde_json::from_str(descriptor).map_err(TechniqueError::invalid)?;
        job.technique.accepts(&descriptor)
    };
    // SAFETY: the host's error buffer.
    unsafe { guarded(err, work) }
}

unsafe extern "C" fn estimate<T: GroupTechnique>(
    job: *mut c_void,
    group: *const tn_group,
    ram_bytes: *mut u64,
    err: *mut tn_err,
) -> i32 {
    let work = || {
        // SAFETY: the host passes its own job and a group that is valid for the call.
        let (job, group) = unsafe { (job_of::<T>(job)?, Group::read(group)?) };
        let bytes = job.technique.estimate(&group.shape());
        let bytes = bytes.ok_or_else(|| TechniqueError::unsupported("no estimate"))?;
        if !ram_bytes.is_null() {
            // SAFETY: not null, and the host's place for it.
            unsafe { *ram_bytes = bytes };
        }
        Ok(())
    };
    // SAFETY: the host's error buffer.
    unsafe { guarded(err, work) }
}

unsafe extern "C" fn group_begin<T: GroupTechnique>(
    job: *mut c_void,
    group: *const tn_group,
    err: *mut tn_err,
) -> i32 {
    let work = || {
        // SAFETY: the host passes its own job and a group that is valid for the call.
        let (job, group) = unsafe { (job_of::<T>(job)?, Group::read(group)?) };
        // SAFETY: the host's functions outlive the job.
        job.technique.begin(&group, &unsafe { Host::new(job.host) })
    };
    // SAFETY: the host's error buffer.
    unsafe { guarded(err, work) }
}

unsafe extern "C" fn group_tile<T: GroupTechnique>(
    job: *mut c_void,
    rows: *const tn_tensor,
    err: *mut tn_err,
) -> i32 {
    let work = || {
        // SAFETY: the host passes its own job and a tensor that is valid for the call.
        let (job, rows) = unsafe { (job_of::<T>(job)?, TensorView::read(rows)?) };
        let rows = rows.ok_or_else(|| TechniqueError::invalid("the tile is null"))?;
        let &[_, in_features] = rows.shape() else {
            return Err(TechniqueError::invalid(format!("a tile has shape {:?}", rows.shape())));
        };
        let values = rows.as_f32(rows.shape())?;
        // SAFETY: the host's functions outlive the job.
        job.technique.tile(Rows { values, in_features }, &unsafe { Host::new(job.host) })
    };
    // SAFETY: the host's error buffer.
    unsafe { guarded(err, work) }
}

unsafe extern "C" fn group_finish<T: GroupTechnique>(
    job: *mut c_void,
    group: *const tn_group,
    err: *mut tn_err,
) -> i32 {
    let work = || {
        // SAFETY: the host passes its own job and a group that is valid for the call.
        let (job, group) = unsafe { (job_of::<T>(job)?, Group::read(group)?) };
        // SAFETY: the host's functions outlive the job.
        let host = unsafe { Host::new(job.host) };
        job.technique.process(&group, &mut Emitter::new(&host))
    };
    // SAFETY: the host's error buffer.
    unsafe { guarded(err, work) }
}

/// # Safety
/// `job` is null or a job of this technique that is not used again.
pub(crate) unsafe extern "C" fn destroy<T>(job: *mut c_void) {
    if job.is_null() {
        return;
    }
    // SAFETY: the job of `create`, which the host does not use again.
    let job = unsafe { Box::from_raw(job.cast::<Job<T>>()) };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(job))) {
        std::mem::forget(payload);
    }
}

unsafe extern "C" fn decode<T: GroupTechnique>(
    weight: *const tn_weight,
    row: u64,
    n_rows: u64,
    out: *mut f32,
    err: *mut tn_err,
) -> i32 {
    // SAFETY: the host's pointers.
    unsafe { decode_with(weight, row, n_rows, out, err, T::decode_rows) }
}

/// Decodes rows of a weight, for a technique of either scope.
///
/// # Safety
/// The pointers are those that the host passes to `decode`.
pub(crate) unsafe fn decode_with(
    weight: *const tn_weight,
    row: u64,
    n_rows: u64,
    out: *mut f32,
    err: *mut tn_err,
    decode_rows: impl FnOnce(&StoredWeight<'_>, Range<usize>, &mut [f32]) -> Result<(), TechniqueError>,
) -> i32 {
    let work = || {
        // SAFETY: the host passes a weight that is valid for the call.
        let weight = unsafe { StoredWeight::read(weight) }?;
        let [out_features, in_features] = weight.shape();
        let (start, count) = (row as usize, n_rows as usize);
        if count > out_features || start > out_features - count {
            return Err(TechniqueError::invalid(format!("rows {start}+{count} of {out_features}")));
        }
        if count * in_features == 0 {
            return Ok(());
        }
        if out.is_null() {
            return Err(TechniqueError::invalid("out is null"));
        }
        // SAFETY: the host's buffer holds rows × in_features values, which it has initialised.
        let out = unsafe { std::slice::from_raw_parts_mut(out, count * in_features) };
        decode_rows(&weight, start..start + count, out)
    };
    // SAFETY: the host's error buffer.
    unsafe { guarded(err, work) }
}
