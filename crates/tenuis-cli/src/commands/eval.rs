//! `tenuis eval`.

use super::{compress_options, locate, planned, print, recipe};
use crate::args::{EvalArgs, Preset, SearchArgs};
use crate::demo::{Demo, SEQ_LEN};
use crate::detach::detach;
use crate::exit::{Code, Failure};
use crate::plugin_dirs;
use crate::progress::Terminal;
use comfy_table::Table;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tenuis_core::Checkpoint;
use tenuis_eval::report::{Holds, Report, Requirement};
use tenuis_eval::{Prices, Weights};
use tenuis_orchestrator::plan::scenario::{Scenario, builtin};
use tenuis_orchestrator::recipe::builtin_search;
use tenuis_orchestrator::{
    EvalRequest, LoadedRecipe, Observer, RobustnessRequest, SearchRequest, builtin_recipes, dry_run,
    evaluate, write_report,
};
use tenuis_report::TerminalOptions;
use tenuis_spec::DecoderSpec;

/// Tokens per window of the published protocols.
const PRESET_WINDOW: usize = 2048;
/// What is evaluated of C4: 256 windows, as GPTQ's authors did (Frantar et al. 2022, arXiv 2210.17323).
const C4_TOKENS: usize = 256 * PRESET_WINDOW;

/// The recipe that trains a student, and the size of a model beyond which it does not run unasked.
const STUDENT: (&str, u64) = ("distilled", 30_000_000);

pub(crate) fn run(mut args: EvalArgs) -> Result<(), Failure> {
    if args.work.detach {
        return print(&detach(&args.out)?);
    }
    let requirements: Vec<Requirement> = args
        .requirements
        .iter()
        .map(|text| text.parse().map_err(Failure::usage))
        .collect::<Result<_, _>>()?;
    args.compare = args.compare.iter().map(|path| locate(path)).collect::<Result<_, _>>()?;
    let model = match args.model.take() {
        Some(model) => locate(&model)?,
        None if args.compare.len() > 1 => args.compare.remove(0),
        None => use_demo(&mut args)?,
    };
    let data = args.data.ok_or_else(|| {
        Failure::usage(
            "eval needs --data FILE.txt: the text to measure perplexity on; for example `tenuis eval --model DIR --data \
             val.txt --calib train.txt`",
        )
    })?;
    let mut left_out = None;
    let mut recipes = if args.recipes.is_empty() && !args.compare.is_empty() {
        Vec::new()
    } else if args.recipes.is_empty() {
        let mut recipes = builtin_recipes()?;
        let parameters = parameters(&model)?;
        if parameters > STUDENT.1 {
            recipes.retain(|loaded| loaded.recipe.name != STUDENT.0);
            left_out = Some(format!(
                "the built-in recipe {} was left out: training {} million parameters takes long; pass --recipe {} to run it",
                STUDENT.0,
                parameters / 1_000_000,
                STUDENT.0
            ));
        }
        recipes
    } else {
        args.recipes.iter().map(|path| recipe(path)).collect::<Result<_, _>>()?
    };
    let search = if args.search { Some(search_request(&args.found, &mut recipes)?) } else { None };
    if let Some(template) = recipes.iter().find(|loaded| loaded.is_template()) {
        return Err(Failure::usage(format!(
            "recipe {} is the template of a search; add --search",
            template.recipe.name
        )));
    }
    let (plugins, codecs) = plugin_dirs::load(&args.work.plugins)?;
    let measure = super::measure::request(&args.resources, &args.work.plugins, args.full)?;
    let weights = args.weights.as_deref().map_or(Ok(Weights::default()), weights)?;
    let business =
        args.business.iter().map(|text| text.parse().map_err(Failure::from)).collect::<Result<_, _>>()?;
    let harder = args.robustness || args.full;
    let request = EvalRequest {
        model,
        recipes,
        others: args.compare,
        requirements,
        data,
        select: args.select,
        search,
        cache_limit: gigabytes(args.cache_gb),
        tasks: args.tasks,
        business,
        robustness: RobustnessRequest {
            texts: args.ood,
            misspelt: harder,
            long_context: harder,
            seeds: args.seeds,
        },
        calibration: args.calib,
        out: args.out.clone(),
        seq_len: args.preset.map(|_| PRESET_WINDOW).or(args.seq_len),
        stride: args.stride,
        max_tokens: args.preset.map_or(args.max_tokens, |preset| (preset == Preset::C4).then_some(C4_TOKENS)),
        measure,
        weights,
        prices: args.price_per_hour.map(|price| {
            let mut prices = Prices::default();
            prices.machine_per_hour = price;
            prices
        }),
        compress: compress_options(&args.work),
    };
    std::fs::create_dir_all(&args.out).map_err(|e| Failure::output(&args.out, e))?;
    let observer: Arc<dyn Observer> = Arc::new(Terminal::new());
    if let Some(note) = left_out {
        observer.warn(&note);
    }
    if args.work.dry_run {
        let (probe, plans) = dry_run(&request, &plugins, &codecs, &observer)?;
        return print(&planned(&probe, &plans, &args.out));
    }
    let report = evaluate(&request, &plugins, &codecs, &observer)?;
    write_report(&report, &args.out)?;
    print(&format!(
        "{}\nreport: {}, report.md and report.html\n",
        shown(&report)?,
        args.out.join("report.json").display()
    ))?;
    let judged = report.requirements.iter().flat_map(|judged| &judged.candidates);
    match judged.filter(|of| of.verdict != Holds::Yes).count() {
        0 => Ok(()),
        1 => Err(Failure::new(Code::Requirement, "a required condition does not hold, or was not measured")),
        n => Err(Failure::new(
            Code::Requirement,
            format!("{n} required conditions do not hold, or were not measured"),
        )),
    }
}

/// What to search for: the template among the recipes, or the built-in one beside the built-in recipes.
fn search_request(args: &SearchArgs, recipes: &mut Vec<LoadedRecipe>) -> Result<SearchRequest, Failure> {
    let scenario = match &args.scenario {
        None => Scenario::default(),
        Some(name) if Path::new(name).exists() => Scenario::read(Path::new(name)).map_err(Failure::usage)?,
        Some(name) => builtin(name).map_err(Failure::usage)?,
    };
    let template = match recipes.iter().position(LoadedRecipe::is_template) {
        Some(index) => recipes.remove(index),
        None => builtin_search()?,
    };
    let (trials, seed, finalists) = (args.trials, args.search_seed, args.finalists);
    let time_limit = args.search_minutes.map(|minutes| Duration::from_secs_f64(60.0 * minutes.max(0.0)));
    Ok(SearchRequest { scenario, template, trials, seed, finalists, time_limit })
}

/// Gigabytes as bytes.
fn gigabytes(number: f64) -> u64 {
    (number.max(0.0) * 1e9) as u64
}

/// Unpacks the demonstration and fills in what was not given.
fn use_demo(args: &mut EvalArgs) -> Result<PathBuf, Failure> {
    let demo = Demo::unpack(&args.out.join("demo"))?;
    if args.data.is_none() {
        args.data = Some(demo.data);
        args.seq_len = args.seq_len.or(Some(SEQ_LEN));
    }
    args.calib.get_or_insert(demo.calibration);
    if args.tasks.is_empty() {
        args.tasks = demo.tasks;
    }
    Ok(demo.model)
}

/// The parameters of a model, by the shapes of its tensors.
fn parameters(model: &Path) -> Result<u64, Failure> {
    let checkpoint = Checkpoint::open(model)?;
    let spec = DecoderSpec::from_config(checkpoint.config()).map_err(|e| Failure::input(model, e))?;
    Ok(spec.tensors().iter().map(|tensor| tensor.shape.iter().product::<usize>() as u64).sum())
}

/// `accuracy=0.4,latency=0.3`; what is not named counts nothing.
fn weights(text: &str) -> Result<Weights, Failure> {
    let wrong = || {
        Failure::usage(format!(
            "--weights {text}: give numbers of 0 or more to some of accuracy, latency, size and memory, such as accuracy=0.7,size=0.3"
        ))
    };
    let mut weights = Weights { accuracy: 0.0, latency: 0.0, size: 0.0, memory: 0.0 };
    for part in text.split(',') {
        let (name, number) = part.split_once('=').ok_or_else(wrong)?;
        let number =
            number.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0).ok_or_else(wrong)?;
        match name.trim() {
            "accuracy" => weights.accuracy = number,
            "latency" => weights.latency = number,
            "size" => weights.size = number,
            "memory" => weights.memory = number,
            _ => return Err(wrong()),
        }
    }
    let Weights { accuracy, latency, size, memory } = weights;
    if accuracy + latency + size + memory > 0.0 { Ok(weights) } else { Err(wrong()) }
}

/// The report as a terminal shows it: coloured where it is one.
pub(crate) fn shown(report: &Report) -> Result<String, Failure> {
    let mut options = TerminalOptions::default();
    options.colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    options.width = Table::new().width().or(if options.colour { None } else { Some(PLAIN_WIDTH) });
    let value = serde_json::to_value(report).map_err(|e| Failure::new(Code::Internal, e))?;
    tenuis_report::terminal(&value, options).map_err(|e| Failure::new(Code::Internal, e))
}

/// Columns where the output is a file: as wide as the widest table is at most.
const PLAIN_WIDTH: u16 = 160;
