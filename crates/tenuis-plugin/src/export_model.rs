//! The tables of model techniques.

#![expect(unsafe_code, reason = "C functions that receive raw pointers from the host")]

use crate::error::TechniqueError;
use crate::export::{Tag, create_job, decode_with, destroy, guarded, job_of, kinds_of, schema_of};
use crate::host::Host;
use crate::model::Model;
use crate::model_emit::ModelEmitter;
use crate::technique::ModelTechnique;
use crate::tensor::text;
use std::ffi::c_void;
use std::mem::size_of;
use tenuis_abi as abi;
use tenuis_abi::{tn_err, tn_host, tn_model, tn_str, tn_technique, tn_weight};

/// Makes the tables of model techniques.
pub trait ModelTable {
    /// The table. Called once; it lives for ever, as the ABI demands.
    fn table(&self) -> &'static tn_technique;
}

impl<T: ModelTechnique> ModelTable for &Tag<T> {
    fn table(&self) -> &'static tn_technique {
        let (kinds, n_kinds) = kinds_of(T::KINDS);
        Box::leak(Box::new(tn_technique {
            struct_size: size_of::<tn_technique>() as u32,
            scope: abi::TN_SCOPE_MODEL,
            caps: T::CAPABILITIES.bits(),
            id: tn_str::new(T::ID),
            version: tn_str::new(T::VERSION),
            config_schema: tn_str::new(schema_of::<T::Config>()),
            n_kinds,
            reserved: 0,
            kinds,
            create: Some(create::<T>),
            accepts: Some(accepts::<T>),
            estimate: None,
            group_begin: None,
            group_tile: None,
            group_finish: None,
            model_run: Some(model_run::<T>),
            model_estimate: Some(model_estimate::<T>),
            destroy: Some(destroy::<T>),
            decode: (!T::KINDS.is_empty()).then_some(decode::<T>),
            ext: None,
            model_statistics: Some(model_statistics::<T>),
        }))
    }
}

unsafe extern "C" fn create<T: ModelTechnique>(
    host: *const tn_host,
    config_json: tn_str,
    job: *mut *mut c_void,
    err: *mut tn_err,
) -> i32 {
    // SAFETY: the host's pointers.
    unsafe { create_job(host, config_json, job, err, T::new) }
}

unsafe extern "C" fn accepts<T: ModelTechnique>(
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

unsafe extern "C" fn model_estimate<T: ModelTechnique>(
    job: *mut c_void,
    model: *const tn_model,
    ram_bytes: *mut u64,
    err: *mut tn_err,
) -> i32 {
    let work = || {
        // SAFETY: the host passes its own job and a model that is valid for the call.
        let (job, model) = unsafe { (job_of::<T>(job)?, Model::read(model)?) };
        let bytes = job.technique.estimate(&model);
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

unsafe extern "C" fn model_statistics<T: ModelTechnique>(
    job: *mut c_void,
    wanted: *mut u64,
    err: *mut tn_err,
) -> i32 {
    let work = || {
        // SAFETY: the host passes its own job.
        let job = unsafe { job_of::<T>(job)? };
        if !wanted.is_null() {
            // SAFETY: not null, and the host's place for it.
            unsafe { *wanted = job.technique.statistics().bits() };
        }
        Ok(())
    };
    // SAFETY: the host's error buffer.
    unsafe { guarded(err, work) }
}

unsafe extern "C" fn model_run<T: ModelTechnique>(
    job: *mut c_void,
    model: *const tn_model,
    err: *mut tn_err,
) -> i32 {
    let work = || {
        // SAFETY: the host passes its own job and a model that is valid for the call.
        let (job, model) = unsafe { (job_of::<T>(job)?, Model::read(model)?) };
        // SAFETY: the host's functions outlive the job.
        let host = unsafe { Host::new(job.host) };
        job.technique.run(&model, &mut ModelEmitter::new(&host, &model))
    };
    // SAFETY: the host's error buffer.
    unsafe { guarded(err, work) }
}

unsafe extern "C" fn decode<T: ModelTechnique>(
    weight: *const tn_weight,
    row: u64,
    n_rows: u64,
    out: *mut f32,
    err: *mut tn_err,
) -> i32 {
    // SAFETY: the host's pointers.
    unsafe { decode_with(weight, row, n_rows, out, err, T::decode_rows) }
}
