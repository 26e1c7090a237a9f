//! The host's functions that only model techniques may call.

#![expect(unsafe_code, reason = "C functions that receive raw pointers from a plugin")]

use crate::callbacks::{Context, Refusal, line, lines, with_status};
use crate::error::OutputProblem;
use crate::model::outputs::{CONFIG, ModelOutputs};
use std::ffi::c_void;
use tenuis_abi::{TN_INVALID, read_text, tn_err, tn_str};

/// A configuration may hold a label for each of very many classes, and no more than that.
pub(crate) const CONFIG_LIMIT: u64 = 64 << 20;

/// Does something under a name; where it is refused, the reason is remembered for that name.
fn under(
    context: &Context,
    name: &str,
    work: impl FnOnce(&mut ModelOutputs) -> Result<(), OutputProblem>,
) -> Result<(), Refusal> {
    context.on_model(|outputs| match work(outputs) {
        Ok(()) => Ok(()),
        Err(problem) => Err((TN_INVALID, outputs.refuse(name, problem))),
    })
}

/// `tn_host.emit_tensor`.
pub(crate) unsafe extern "C" fn emit_tensor(ctx: *mut c_void, name: tn_str, err: *mut tn_err) -> i32 {
    let work = |context: &Context| {
        // SAFETY: a plugin passes a readable text, here and below.
        let name = unsafe { line(name) };
        under(context, &name, |outputs| outputs.emit_tensor(&name))
    };
    // SAFETY: a plugin passes the context that it was given, here and below.
    unsafe { with_status(ctx, err, work) }
}

/// `tn_host.emit_weight`.
pub(crate) unsafe extern "C" fn emit_weight(
    ctx: *mut c_void,
    module: tn_str,
    out_features: u64,
    in_features: u64,
    descriptor: tn_str,
    n_components: u32,
    components: *const tn_str,
    err: *mut tn_err,
) -> i32 {
    let work = |context: &Context| {
        // SAFETY: as above; a plugin passes `n_components` names.
        let (module, descriptor, components) =
            unsafe { (line(module), line(descriptor), lines(components, n_components)?) };
        // A codec multiplies the two.
        let fits =
            |shape: &[usize; 2]| shape[0].checked_mul(shape[1]).is_some_and(|n| n <= isize::MAX as usize / 8);
        let shape = usize::try_from(out_features).ok().zip(usize::try_from(in_features).ok());
        let shape = shape.map(|(rows, columns)| [rows, columns]).filter(fits);
        let problem = || (TN_INVALID, format!("{module} of shape [{out_features}, {in_features}]"));
        let shape = shape.ok_or_else(problem)?;
        let codecs = &context.codecs;
        under(context, &module, |outputs| {
            outputs.emit_weight(&module, shape, &descriptor, &components, codecs)
        })
    };
    // SAFETY: as above.
    unsafe { with_status(ctx, err, work) }
}

/// `tn_host.emit_copy`.
pub(crate) unsafe extern "C" fn emit_copy(
    ctx: *mut c_void,
    name: tn_str,
    teacher: i32,
    source: tn_str,
    err: *mut tn_err,
) -> i32 {
    let work = |context: &Context| {
        // SAFETY: as above.
        let (name, source) = unsafe { (line(name), line(source)) };
        under(context, &name, |outputs| outputs.emit_copy(&name, teacher != 0, &source))
    };
    // SAFETY: as above.
    unsafe { with_status(ctx, err, work) }
}

/// `tn_host.remove`.
pub(crate) unsafe extern "C" fn remove(ctx: *mut c_void, name: tn_str, err: *mut tn_err) -> i32 {
    let work = |context: &Context| {
        // SAFETY: as above.
        let name = unsafe { line(name) };
        under(context, &name, |outputs| outputs.remove(&name))
    };
    // SAFETY: as above.
    unsafe { with_status(ctx, err, work) }
}

/// `tn_host.retract`.
pub(crate) unsafe extern "C" fn retract(ctx: *mut c_void, name: tn_str, err: *mut tn_err) -> i32 {
    let work = |context: &Context| {
        // SAFETY: as above.
        let name = unsafe { line(name) };
        // Not remembered: nothing is wrong with what is kept.
        context.on_model(|outputs| outputs.retract(&name).map_err(|e| (TN_INVALID, format!("{name}: {e}"))))
    };
    // SAFETY: as above.
    unsafe { with_status(ctx, err, work) }
}

/// `tn_host.set_config`.
pub(crate) unsafe extern "C" fn set_config(ctx: *mut c_void, config_json: tn_str, err: *mut tn_err) -> i32 {
    let work = |context: &Context| {
        // SAFETY: as above.
        let text = unsafe { read_text(config_json, CONFIG_LIMIT) };
        under(context, CONFIG, |outputs| {
            let problem = || OutputProblem::Config { problem: "is no UTF-8 text".to_owned() };
            outputs.set_config(text.ok_or_else(problem)?)
        })
    };
    // SAFETY: as above.
    unsafe { with_status(ctx, err, work) }
}

/// `tn_model.eval_loss`, whose context is that of `tn_host`.
pub(crate) unsafe extern "C" fn eval_loss(ctx: *mut c_void, loss: *mut f64, err: *mut tn_err) -> i32 {
    let work = |context: &Context| {
        if loss.is_null() {
            return Err((TN_INVALID, "loss is null".to_owned()));
        }
        let value = context.eval_loss()?;
        // SAFETY: not null, and a place of the plugin's.
        unsafe { *loss = value };
        Ok(())
    };
    // SAFETY: as above.
    unsafe { with_status(ctx, err, work) }
}
