//! A library that runs in workers alone.

#![expect(unsafe_code, reason = "reads a view of ours")]

use crate::library::{Functions, Loaded, TechniqueTable};
use crate::worker::client::{NoAttendant, Process};
use crate::worker::pack::Packer;
use crate::worker::shared::anonymous;
use crate::worker::wire::{FromWorker, ToWorker, WireTechnique};
use crate::worker::{WorkerFault, WorkerLimits, WorkerProgram};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tenuis_abi::{TN_OK, tn_weight};

/// How its workers are started, and the one that decodes weights of its kinds.
pub(crate) struct IsolatedPlugin {
    library: PathBuf,
    hash: String,
    program: WorkerProgram,
    limits: WorkerLimits,
    decoder: Mutex<Option<Decoder>>,
}

/// A worker without a job; it keeps the weight of the last call.
struct Decoder {
    process: Process,
    held: u64,
}

impl IsolatedPlugin {
    /// Has a worker load a library and describe it. The path must be absolute.
    pub(crate) fn load(
        library: &Path,
        hash: &str,
        program: &WorkerProgram,
        limits: &WorkerLimits,
    ) -> Result<Loaded, WorkerFault> {
        let plugin = Arc::new(Self {
            library: library.to_owned(),
            hash: hash.to_owned(),
            program: program.clone(),
            limits: limits.clone(),
            decoder: Mutex::default(),
        });
        let (mut process, described) = plugin.start()?;
        let FromWorker::Described { abi_minor, techniques } = described else {
            return Err(process.broken("it does not describe its library".to_owned()));
        };
        let techniques = techniques.into_iter().map(|technique| plugin.table(technique)).collect();
        Ok(Loaded { abi_minor, techniques })
    }

    fn table(self: &Arc<Self>, technique: WireTechnique) -> TechniqueTable {
        let WireTechnique { id, version, schema, kinds, scope, caps, estimates } = technique;
        // As long-lived as those of a library that is loaded here.
        let kinds = kinds.into_iter().map(|kind| &*kind.leak()).collect();
        let functions = Functions::Worker(Arc::clone(self));
        TechniqueTable { id, version, schema, kinds, scope, caps, estimates, functions }
    }

    /// Another worker.
    pub(crate) fn start(&self) -> Result<(Process, FromWorker), WorkerFault> {
        Process::start(&self.program, &self.limits, &self.library, &self.hash)
    }

    /// Decodes the rows of a weight from `row` on that fill `out`; `id` differs between weights.
    pub(crate) fn decode(
        &self,
        technique: &str,
        id: u64,
        weight: &tn_weight,
        row: u64,
        out: &mut [f32],
    ) -> Result<(), String> {
        let mut decoder = self.decoder.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.decode_with(&mut decoder, technique, id, weight, row, out);
        if result.is_err() {
            // Whatever state it is in, the next weight gets another one.
            *decoder = None;
        }
        result
    }

    fn decode_with(
        &self,
        decoder: &mut Option<Decoder>,
        technique: &str,
        id: u64,
        weight: &tn_weight,
        row: u64,
        out: &mut [f32],
    ) -> Result<(), String> {
        let fault = |fault: WorkerFault| format!("its process {fault}");
        let decoder = match decoder {
            Some(decoder) => decoder,
            None => decoder.insert(Decoder { process: self.start().map_err(fault)?.0, held: 0 }),
        };
        let ask = |process: &mut Process, request: &ToWorker, region: Option<&File>| {
            let (status, message, _) = process.ask(request, region, &mut NoAttendant).map_err(fault)?;
            if status == TN_OK { Ok(()) } else { Err(message) }
        };
        let memory = |source| fault(WorkerFault::Memory { source });
        if decoder.held != id {
            let mut packer = Packer::default();
            // SAFETY: the caller's view is valid.
            let (weight, region) = unsafe { (packer.weight(weight), packer.region().map_err(memory)?) };
            ask(&mut decoder.process, &ToWorker::Hold { weight }, region.as_ref())?;
            decoder.held = id;
        }
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(out);
        let region = anonymous(bytes.len() as u64).map_err(memory)?;
        let columns = weight.in_features.max(1);
        let rows = bytes.len() as u64 / 4 / columns;
        let request = ToWorker::Decode { technique: technique.to_owned(), row, rows };
        ask(&mut decoder.process, &request, Some(&region))?;
        region.read_exact_at(bytes, 0).map_err(memory)
    }
}

impl std::fmt::Debug for IsolatedPlugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IsolatedPlugin").field("library", &self.library).finish_non_exhaustive()
    }
}
