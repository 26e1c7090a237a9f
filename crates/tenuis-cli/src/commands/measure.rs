//! `tenuis measure`, and what it shares with `tenuis eval`.

use super::print;
use crate::args::{MeasureArgs, PluginDirArgs, ResourceArgs};
use crate::exit::{Code, Failure};
use crate::plugin_dirs;
use crate::progress::Terminal;
use comfy_table::{CellAlignment, Table, presets};
use std::fmt::Write;
use std::sync::Arc;
use tenuis_eval::NoiseVerdict;
use tenuis_eval::memory::Probe;
use tenuis_eval::report::{Measurement, bytes};
use tenuis_eval::speed::{LoadProtocol, SweepLimits};
use tenuis_orchestrator::{MeasureRequest, MemoryProbe, Observer, SpeedRequest, measure_only};

/// The most sequences that a sweep runs together.
const SWEPT_BATCH: usize = 8;
/// The longest prompt of a sweep; the model's positions may end before.
const SWEPT_PROMPT: usize = 1024;

pub(crate) fn run(args: &MeasureArgs) -> Result<(), Failure> {
    let (_plugins, codecs) = plugin_dirs::load(&args.plugins)?;
    let request = request(&args.resources, &args.plugins, false)?;
    let observer: Arc<dyn Observer> = Arc::new(Terminal::new());
    let target = match &args.target {
        Some(target) => target.clone(),
        None => tenuis_eval::report::Machine::here().cpu.unwrap_or_else(|| "this machine".to_owned()),
    };
    let measurement = measure_only(&target, &args.models, &request, &codecs, &observer)?;
    if args.json {
        let text = serde_json::to_string_pretty(&measurement).map_err(|e| Failure::new(Code::Internal, e))?;
        return print(&format!("{text}\n"));
    }
    print(&table(&measurement))
}

/// What is to be measured; `everything` turns on what is off by default.
pub(crate) fn request(
    args: &ResourceArgs,
    plugins: &PluginDirArgs,
    everything: bool,
) -> Result<MeasureRequest, Failure> {
    let lengths = args.speed_lengths.as_deref().map(lengths).transpose()?;
    let limits = SweepLimits { max_batch_size: SWEPT_BATCH, max_prompt_tokens: SWEPT_PROMPT };
    let load = LoadProtocol { per_second: args.load_rate, ..LoadProtocol::default() };
    let speed = SpeedRequest {
        repeats: args.speed_repeats,
        lengths,
        sweep: (args.sweep || everything).then_some(limits),
        load: (args.load || everything).then_some(load),
        profile: args.profile || everything,
    };
    Ok(MeasureRequest {
        speed: (args.speed_repeats != Some(0)).then_some(speed),
        memory: if args.no_memory { None } else { Some(memory_probe(plugins)?) },
        starts: !args.no_cold_start,
    })
}

fn lengths(text: &str) -> Result<(usize, usize), Failure> {
    let number = |part: &str| part.trim().parse::<usize>().ok().filter(|&n| n > 0);
    let found = text.split_once(',').and_then(|(prompt, new)| Some((number(prompt)?, number(new)?)));
    found.ok_or_else(|| {
        Failure::usage(format!("--speed-lengths {text}: give two numbers above 0, such as 128,32"))
    })
}

/// How this very program measures memory in a child of itself.
fn memory_probe(plugins: &PluginDirArgs) -> Result<MemoryProbe, Failure> {
    let program = std::env::current_exe().map_err(|e| {
        Failure::usage(format!("cannot find this program's own path ({e}); pass --no-memory"))
    })?;
    let mut empty = vec!["probe-memory".into()];
    empty.extend(plugin_dirs::arguments(plugins));
    Ok(MemoryProbe { probe: Probe { program, empty: empty.clone() }, prefix: empty })
}

fn table(measurement: &Measurement) -> String {
    let headings = [
        "model",
        "size",
        "first token ms",
        "step p50 ms",
        "p99 ms",
        "latency p99 ms",
        "prefill tok/s",
        "decode tok/s",
        "peak memory",
        "cold start s",
    ];
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(headings);
    let milli = |seconds: f64| format!("{:.2}", 1e3 * seconds);
    for model in &measurement.models {
        let (speed, memory) = (&model.speed, model.memory.as_ref());
        let missing = || "–".to_owned();
        table.add_row([
            model.name.clone(),
            bytes(model.bytes),
            milli(speed.prefill_seconds.median),
            milli(speed.decode_step_seconds.median),
            milli(speed.decode_step_seconds.p99),
            speed.latency_seconds.map_or_else(missing, |latency| milli(latency.p99)),
            format!("{:.0}", speed.prefill_tokens_per_s),
            format!("{:.0}", speed.decode_tokens_per_s),
            memory.map_or_else(missing, |memory| bytes(memory.peak_bytes)),
            memory
                .and_then(|memory| memory.start.as_ref())
                .map_or_else(missing, |start| format!("{:.3}", start.cold.ready_seconds.median)),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!("{}\n{table}\n", measurement.target);
    if let Some(NoiseVerdict::Noisy { reasons }) =
        measurement.machine.noise.as_ref().map(|noise| &noise.verdict)
    {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "note: the machine was not quiet: {}", reasons.join("; "));
    }
    text
}
