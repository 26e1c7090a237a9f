//! Compares two ways to do the same work: alone in rounds, and under load that does not wait for them.
//!
//! ```sh
//! cargo run --release -p tenuis-measure --example load
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::convert::Infallible;
use std::error::Error;
use tenuis_measure::{
    Arrivals, Clock, Distribution, EnergyMeter, Environment, GenerationSpeed, GenerationTimes, Load,
    MemoryClaims, MemorySplit, NoiseLimits, NoiseVerdict, NoiseWatch, ProcessMemory, Progress, Queue, Rounds,
    Subject, SystemRoot, WallClock, serve,
};

/// Numbers that a request sums.
const NUMBERS: usize = 400_000;

/// Requests of each load.
const REQUESTS: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let root = SystemRoot::default();
    let clock = WallClock::default();
    describe(&Environment::read(&root).with_threads(1));

    // The watch begins before anything else, so that the load average is that of others.
    let mut watch = NoiseWatch::start(&root);
    let meter = EnergyMeter::start(&root);
    let numbers: Vec<f32> = (0..NUMBERS).map(|i| i as f32).collect();
    let means = rounds(&numbers, &clock, &mut watch)?;
    load(&numbers, means[0], &clock)?;
    generation(&numbers, &clock)?;

    println!("\nenergy: {:?}", meter.stop());
    memory(&root);
    let noise = watch.finish(&NoiseLimits::default());
    match noise.verdict {
        NoiseVerdict::Quiet => println!("\nthe machine was quiet"),
        NoiseVerdict::Noisy { reasons } => {
            println!("\nthe machine was noisy, and these figures are worth little:");
            for reason in reasons {
                println!("  - {reason}");
            }
        }
    }
    for what in noise.unseen {
        println!("  not seen: {what}");
    }
    Ok(())
}

fn describe(environment: &Environment) {
    let machine = &environment.machine;
    println!("{}", machine.cpu.name.as_deref().unwrap_or("a processor without a name"));
    println!("  {} logical cores, {} usable", machine.cpu.logical_cores, machine.usable_cores());
    println!("  instruction sets: {}", machine.cpu.features.as_deref().unwrap_or_default().join(" "));
    println!("  virtual machine: {:?}, container: {:?}", machine.virtual_machine, machine.container);
    println!("  {}", environment.versions["rustc"]);
}

/// Times both subjects in turn and gives their mean seconds.
fn rounds(numbers: &[f32], clock: &WallClock, watch: &mut NoiseWatch) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut subjects = [
        Subject::timed("one sum", clock, |_| Ok::<_, Infallible>(one_sum(numbers))),
        Subject::timed("eight sums", clock, |_| Ok(eight_sums(numbers))),
    ];
    let measured = Rounds::default().measure(&mut subjects, clock, |progress| {
        if let Progress::RoundDone { .. } = progress {
            watch.probe();
        }
    })?;
    println!("\nin rounds, milliseconds:");
    let mut means = Vec::new();
    for subject in measured {
        let seconds = Distribution::of(subject.samples).ok_or("there are no samples")?;
        let of = |seconds: f64| 1e3 * seconds;
        println!(
            "  {:<10} median {:.3}, p90 {:.3}, worst {:.3} after {} runs of warm-up",
            subject.name,
            of(seconds.median),
            of(seconds.p90),
            of(seconds.max),
            subject.warm_up_runs
        );
        means.push(seconds.mean);
    }
    Ok(means)
}

/// Serves requests that come at shares of what the server can do.
fn load(numbers: &[f32], mean: f64, clock: &WallClock) -> Result<(), Box<dyn Error>> {
    println!("\nunder load, one server, milliseconds:");
    let rate = |share: f64| share / mean;
    let processes = [
        ("steady, half busy", Arrivals::Steady { per_second: rate(0.5) }),
        ("at random, half busy", Arrivals::Poisson { per_second: rate(0.5), seed: 1 }),
        (
            "in bursts, half busy",
            Arrivals::Bursty { per_second: rate(0.5), burst: 10, burst_per_second: rate(5.0), seed: 1 },
        ),
        ("more than it can do", Arrivals::Steady { per_second: rate(1.5) }),
    ];
    for (name, arrivals) in processes {
        let times = serve(&arrivals, REQUESTS, clock, |_| {
            std::hint::black_box(one_sum(numbers));
            Ok::<_, Infallible>(())
        })?;
        let load = Load::of(&times, Some(5.0 * mean))?;
        let kept = load.deadline.map_or(1.0, |deadline| deadline.share);
        let queue = match load.queue {
            Queue::Growing { .. } => ", overloaded",
            _ => "",
        };
        println!(
            "  {name:<21} p50 {:.3}, p99 {:.3}, of which waiting {:.3}; {:.0} % within the deadline{queue}",
            1e3 * load.latency.median,
            1e3 * load.latency.p99,
            1e3 * load.queueing.p99,
            100.0 * kept
        );
    }
    Ok(())
}

/// Records something that gives a result now and then, as a language model does.
fn generation(numbers: &[f32], clock: &impl Clock) -> Result<(), Box<dyn Error>> {
    let one = || {
        GenerationTimes::record(clock, 1, 64, |token| {
            for _ in 0..16 {
                std::hint::black_box(one_sum(numbers));
                token();
            }
            Ok::<_, Infallible>(())
        })
    };
    let speed = GenerationSpeed::of(&[one()?, one()?, one()?])?;
    println!("\nas tokens: first after {:.3} ms", 1e3 * speed.first_token_seconds.median);
    println!("  then {:.0} per second", speed.decode_tokens_per_second.unwrap_or_default());
    Ok(())
}

fn memory(root: &SystemRoot) {
    let Some(memory) = ProcessMemory::of_self(root) else {
        println!("\nmemory: this system does not tell");
        return;
    };
    let mut claims = MemoryClaims::default();
    claims.program_bytes = memory.file_bytes;
    claims.weight_bytes = (NUMBERS * size_of::<f32>()) as u64;
    let split = MemorySplit::attribute(memory.peak_bytes, &claims);
    println!(
        "\nmemory: {} KiB at the peak, of which {} program, {} numbers, {} other",
        split.peak_bytes >> 10,
        split.program_bytes >> 10,
        split.weight_bytes >> 10,
        split.activation_bytes >> 10
    );
}

/// Adds one number after the other: each addition waits for the last one.
fn one_sum(numbers: &[f32]) -> f32 {
    numbers.iter().sum()
}

/// Adds in eight chains that do not wait for each other.
fn eight_sums(numbers: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    for chunk in numbers.chunks_exact(8) {
        sums.iter_mut().zip(chunk).for_each(|(sum, number)| *sum += number);
    }
    sums.iter().sum()
}
