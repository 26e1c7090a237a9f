//! `tenuis plugin-worker`: the process that a plugin from outside the installation runs in.

use crate::args::PluginWorkerArgs;
use crate::exit::{Code, Failure};
use tenuis_orchestrator::plugin::serve;

pub(crate) fn run(args: &PluginWorkerArgs) -> Result<(), Failure> {
    serve(&args.library).map_err(|error| Failure::new(Code::Plugin, error))
}
