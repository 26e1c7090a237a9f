//! The worker: loads one library and does what the host asks, until the host is gone.

#![expect(unsafe_code, reason = "calls the functions of a plugin")]

use crate::call::Call;
use crate::library::{self, Functions, Loaded, TechniqueTable};
use crate::worker::frame::{Frame, FrameError};
use crate::worker::proxy::{Session, orphaned};
use crate::worker::shared::Watched;
use crate::worker::unpack::{self, Misfit, Unpacked};
use crate::worker::wire::{FromWorker, PROTOCOL, ToWorker, WireTechnique};
use crate::worker::{ServeError, frame};
use memmap2::MmapRaw;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Resource, Rlimit};
use std::ffi::c_void;
use std::fs::File;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use tenuis_abi as abi;
use tenuis_abi::{tn_err, tn_group, tn_host, tn_str, tn_technique, tn_weight};

/// Serves one library to the host at the other end of standard input, until that is gone.
///
/// This is all that the program behind a [`WorkerProgram`](crate::WorkerProgram) does; it is called on the main thread before
/// anything else. Standard output is the plugin's to write to and leads nowhere.
///
/// # Errors
/// [`ServeError`] where standard input is not the socket of a host, or the host does not speak this protocol. That the
/// library cannot be loaded is the host's to report, and no error here.
pub fn serve(library: &Path) -> Result<(), ServeError> {
    let stream = take_stdin()?;
    let hello: Frame<ToWorker> =
        frame::receive(&stream, &mut || ControlFlow::Continue(())).map_err(|_| ServeError::NoHost)?;
    let (ToWorker::Hello { protocol: PROTOCOL, hash, address_space }, Some(control)) =
        (hello.message, hello.file)
    else {
        return Err(ServeError::Protocol);
    };
    let control = Watched::map(&control).map_err(ServeError::Memory)?;
    watch(&stream)?;
    let session: &'static Session = Box::leak(Box::new(Session::new(stream, control)));
    let loaded = match load(library, &hash, address_space) {
        Ok(loaded) => loaded,
        Err(problem) => {
            session.tell(&FromWorker::Refused { problem });
            return Ok(());
        }
    };
    let Loaded { abi_minor, techniques } = loaded;
    let described = techniques.iter().map(describe).collect();
    session.tell(&FromWorker::Described { abi_minor, techniques: described });
    let mut served = Served { session, techniques, job: None, group: None, held: None };
    loop {
        match session.next() {
            Ok(frame) => {
                let done = served.answer(frame);
                session.tell(&done);
            }
            Err(FrameError::Closed) => return Ok(()),
            Err(_) => return Err(ServeError::Protocol),
        }
    }
}

/// The socket that the host put in the place of standard input, which is empty from here on.
fn take_stdin() -> Result<UnixStream, ServeError> {
    let socket: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned().map_err(ServeError::Stdin)?;
    let nothing = File::open("/dev/null").map_err(ServeError::Stdin)?;
    rustix::stdio::dup2_stdin(&nothing).map_err(|e| ServeError::Stdin(e.into()))?;
    Ok(socket.into())
}

/// Ends the process when the host does, whatever the plugin is at.
fn watch(stream: &UnixStream) -> Result<(), ServeError> {
    let stream = stream.try_clone().map_err(ServeError::Stdin)?;
    let wait = move || {
        let mut polled = [PollFd::new(&stream, PollFlags::empty())];
        while rustix::event::poll(&mut polled, None).is_err() || polled[0].revents().is_empty() {}
        orphaned()
    };
    std::thread::Builder::new().name("host watch".to_owned()).spawn(wait).map_err(ServeError::Stdin)?;
    Ok(())
}

/// Limits the process and loads the library, if it is still the one that the host looked at.
fn load(library: &Path, hash: &str, address_space: Option<u64>) -> Result<Loaded, String> {
    if let Some(bytes) = address_space {
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        rustix::process::setrlimit(Resource::As, limit)
            .map_err(|e| format!("its address space cannot be limited to {bytes} bytes: {e}"))?;
    }
    let found = blake3::Hasher::new()
        .update_reader(File::open(library).map_err(|e| e.to_string())?)
        .map_err(|e| e.to_string())?
        .finalize()
        .to_hex();
    if found.as_str() != hash {
        return Err(format!("the library changed meanwhile: its blake3 is {found}, it was {hash}"));
    }
    let named = format!("{}: ", library.display());
    library::open(library).map_err(|e| {
        let text = e.to_string();
        text.strip_prefix(&named).map(str::to_owned).unwrap_or(text)
    })
}

fn describe(table: &TechniqueTable) -> WireTechnique {
    WireTechnique {
        id: table.id.clone(),
        version: table.version.clone(),
        schema: table.schema.clone(),
        kinds: table.kinds.iter().map(|&kind| kind.to_owned()).collect(),
        scope: table.scope,
        caps: table.caps,
        estimates: table.estimates,
    }
}

/// A job and its technique.
struct Running {
    raw: tn_technique,
    state: *mut c_void,
    /// The plugin's state may refer to it.
    _host: Box<tn_host>,
}

/// The library and what the host has begun with it.
struct Served {
    session: &'static Session,
    techniques: Vec<TechniqueTable>,
    job: Option<Running>,
    /// The open group: `group_finish` gets the same views as `group_begin`.
    group: Option<Unpacked<tn_group>>,
    held: Option<Unpacked<tn_weight>>,
}

impl Served {
    /// Does what a message asks.
    fn answer(&mut self, Frame { message, file, .. }: Frame<ToWorker>) -> FromWorker {
        let mut error = tn_err::default();
        let mut value = 0;
        match self.perform(message, file, &mut value, &mut error) {
            Ok(status) => FromWorker::Done { status, message: error.message(), value },
            Err(misfit) => {
                FromWorker::Done { status: abi::TN_INVALID, message: format!("the worker: {misfit}"), value }
            }
        }
    }

    fn perform(
        &mut self,
        message: ToWorker,
        region: Option<File>,
        value: &mut u64,
        err: &mut tn_err,
    ) -> Result<i32, Misfit> {
        match message {
            ToWorker::Create { technique, options, threads, seed } => {
                self.create(&technique, &options, threads, seed, err)
            }
            ToWorker::Accepts { descriptor } => self.call(Call::Accepts(&descriptor), value, err),
            ToWorker::Estimate { group } => {
                let group = unpack::group(group, region)?;
                self.call(Call::Estimate(group.view), value, err)
            }
            ToWorker::GroupBegin { group } => {
                let group = self.group.insert(unpack::group(group, region)?).view;
                self.session.close();
                self.call(Call::GroupBegin(group), value, err)
            }
            ToWorker::GroupTile { rows } => {
                let rows = unpack::tensor(rows, region)?;
                self.call(Call::GroupTile(rows.view), value, err)
            }
            ToWorker::GroupFinish => {
                let group = self.group.take().ok_or("no group is open")?;
                let status = self.call(Call::GroupFinish(group.view), value, err);
                self.session.close();
                status
            }
            ToWorker::ModelStatistics => self.call(Call::ModelStatistics, value, err),
            ToWorker::ModelEstimate { model } => {
                let model = unpack::model(model, region, self.session.model_functions())?;
                self.call(Call::ModelEstimate(model.view), value, err)
            }
            ToWorker::ModelRun { model } => {
                let model = unpack::model(model, region, self.session.model_functions())?;
                let status = self.call(Call::ModelRun(model.view), value, err);
                self.session.close();
                status
            }
            ToWorker::Hold { weight } => {
                self.held = Some(unpack::weight(weight, region)?);
                Ok(abi::TN_OK)
            }
            ToWorker::Decode { technique, row, rows } => {
                let out = region.ok_or("nowhere to decode to")?;
                self.decode(&technique, row, rows, &out, err)
            }
            ToWorker::Destroy => {
                self.destroy();
                Ok(abi::TN_OK)
            }
            ToWorker::Hello { .. } | ToWorker::Reply { .. } => Err("an unexpected message".to_owned()),
        }
    }

    fn raw(&self, id: &str) -> Result<tn_technique, Misfit> {
        let table = self.techniques.iter().find(|table| table.id == id);
        match table.map(|table| &table.functions) {
            Some(Functions::Here(raw)) => Ok(**raw),
            _ => Err(format!("the library has no technique {id:?}")),
        }
    }

    fn create(
        &mut self,
        technique: &str,
        options: &str,
        threads: u32,
        seed: u64,
        err: &mut tn_err,
    ) -> Result<i32, Misfit> {
        let raw = self.raw(technique)?;
        if self.job.is_some() {
            return Err("there is a job already".to_owned());
        }
        self.session.set_threads(threads);
        let host = Box::new(self.session.host(seed));
        let mut state = std::ptr::null_mut();
        let create = raw.create.ok_or("it has no create function")?;
        // SAFETY: the host's functions outlive the job, the text outlives the call.
        let status = unsafe { create(&raw const *host, tn_str::new(options), &raw mut state, err) };
        if status == abi::TN_OK {
            self.job = Some(Running { raw, state, _host: host });
        }
        Ok(status)
    }

    fn call(&self, call: Call<'_>, value: &mut u64, err: &mut tn_err) -> Result<i32, Misfit> {
        let job = self.job.as_ref().ok_or("there is no job")?;
        self.session.live();
        // SAFETY: the state is that of `create`, the views live until the call is over.
        Ok(unsafe { call.perform(&job.raw, job.state, value, err) })
    }

    fn decode(
        &self,
        technique: &str,
        row: u64,
        rows: u64,
        out: &File,
        err: &mut tn_err,
    ) -> Result<i32, Misfit> {
        let decode = self.raw(technique)?.decode.ok_or("it has no decode function")?;
        let weight = self.held.as_ref().ok_or("no weight is held")?.view;
        // SAFETY: the view is held.
        let columns = unsafe { (*weight).in_features };
        let out = MmapRaw::map_raw(out).map_err(|e| e.to_string())?;
        if rows.checked_mul(columns).and_then(|n| n.checked_mul(4)).is_none_or(|n| n > out.len() as u64) {
            return Err(format!("no room for {rows} rows"));
        }
        let place: *mut f32 = out.as_mut_ptr().cast();
        // What the plugin leaves out must not pass for a value.
        // SAFETY: `out` has room for the rows, and nobody else looks at it before the answer.
        unsafe { std::slice::from_raw_parts_mut(place, (rows * columns) as usize) }.fill(f32::NAN);
        // SAFETY: the weight is held, and there is room for the rows.
        Ok(unsafe { decode(weight, row, rows, place, err) })
    }

    fn destroy(&mut self) {
        if let Some(Running { raw, state, _host }) = self.job.take()
            && let Some(destroy) = raw.destroy
        {
            // SAFETY: the state of `create`, which is not used again; legal even after a panic.
            unsafe { destroy(state) };
        }
    }
}
