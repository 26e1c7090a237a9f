//! Holds the load generator against queueing theory, in virtual time.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::convert::Infallible;
use tenuis_measure::{Arrivals, Load, MeasureError, Queue, RequestTimes, VirtualClock, serve};

/// Requests of a simulation.
const REQUESTS: usize = 400_000;

/// The mean service time, in seconds.
const SERVICE: f64 = 0.1;

/// What a simulated mean or quantile may be off by. The standard error of the mean wait of an M/M/1 queue is
/// `√((2 + 5ρ − 4ρ² + ρ³) / (ρ (1 − ρ)² n))` of it (Daley 1968): 1.2 % at ρ = 0.7 and n = 400000, of which this is four.
const TOLERANCE: f64 = 0.05;

/// Rounding of sums of some hundred thousand times.
const ROUNDING: f64 = 1e-6;

fn assert_near(what: &str, found: f64, expected: f64) {
    assert!((found / expected - 1.0).abs() < TOLERANCE, "{what}: {found} is not near {expected}");
}

fn run(arrivals: Arrivals, requests: usize, mut service: impl FnMut(usize) -> f64) -> Vec<RequestTimes> {
    let clock = VirtualClock::default();
    // A clock that does not begin at 0 must make no difference.
    clock.advance(1000.0);
    serve(&arrivals, requests, &clock, |i| {
        clock.advance(service(i));
        Ok::<_, Infallible>(())
    })
    .expect("the process is possible and the service never fails")
}

fn poisson(utilisation: f64) -> Arrivals {
    Arrivals::Poisson { per_second: utilisation / SERVICE, seed: 11 }
}

/// Exponential times of mean [`SERVICE`], from a stream of their own.
fn exponential() -> impl FnMut(usize) -> f64 {
    let mut stream = ChaCha8Rng::seed_from_u64(99);
    move |_| -SERVICE * ((stream.next_u64() >> 11) as f64 / (1_u64 << 53) as f64).max(f64::MIN_POSITIVE).ln()
}

#[test]
fn constant_service_waits_as_pollaczek_and_khinchine_say() {
    for utilisation in [0.3, 0.7] {
        let load = Load::of(&run(poisson(utilisation), REQUESTS, |_| SERVICE), None).unwrap();
        assert_near("wait of M/D/1", load.queueing.mean, utilisation * SERVICE / (2.0 * (1.0 - utilisation)));
        assert_near("utilisation", load.utilisation, utilisation);
        assert_near("offered load", load.offered_load.unwrap(), utilisation);
        assert_near("throughput", load.throughput_per_second, utilisation / SERVICE);
        assert_eq!(load.queue, Queue::Stable);
    }
}

#[test]
fn exponential_service_waits_twice_as_long_and_its_latency_is_exponential() {
    let utilisation = 0.7;
    let deadline = 0.5;
    let load = Load::of(&run(poisson(utilisation), REQUESTS, exponential()), Some(deadline)).unwrap();
    assert_near("wait of M/M/1", load.queueing.mean, utilisation * SERVICE / (1.0 - utilisation));
    let sojourn = SERVICE / (1.0 - utilisation);
    assert_near("latency", load.latency.mean, sojourn);
    assert_near("median", load.latency.median, sojourn * 2.0_f64.ln());
    assert_near("p90", load.latency.p90, sojourn * 10.0_f64.ln());
    assert_near("p99", load.latency.p99, sojourn * 100.0_f64.ln());
    assert_near("within the deadline", load.deadline.unwrap().share, 1.0 - (-deadline / sojourn).exp());
    assert_eq!(load.queue, Queue::Stable);
}

#[test]
fn bursts_make_users_wait_at_the_same_mean_rate() {
    let bursty = Arrivals::Bursty { per_second: 5.0, burst: 20, burst_per_second: 100.0, seed: 3 };
    let burst = Load::of(&run(bursty, 20_000, |_| SERVICE), None).unwrap();
    let steady = Load::of(&run(Arrivals::Steady { per_second: 5.0 }, 20_000, |_| SERVICE), None).unwrap();
    assert!(steady.queueing.max < ROUNDING, "a steady load below capacity never queues");
    // A burst of 20 alone takes 2 s to serve and comes within 0.2: its last request waits most of that.
    assert!(burst.latency.p90 > 10.0 * steady.latency.p90, "{:?}", burst.latency);
    assert_near("throughput", burst.throughput_per_second, steady.throughput_per_second);
    assert_eq!(burst.queue, Queue::Stable);
}

#[test]
fn overload_is_seen_and_grows_by_what_is_missing() {
    let load = Load::of(&run(Arrivals::Steady { per_second: 20.0 }, 1000, |_| SERVICE), None).unwrap();
    // Each second brings 2 s of work: the wait grows by 1 s per second.
    let Queue::Growing { seconds_per_second } = load.queue else { panic!("{:?}", load.queue) };
    assert_near("growth", seconds_per_second, 1.0);
    assert_near("offered load", load.offered_load.unwrap(), 2.0);
    assert_near("throughput is that of the server", load.throughput_per_second, 1.0 / SERVICE);
    assert_near("utilisation", load.utilisation, 1.0);
    let at_random = Load::of(&run(poisson(1.3), 2000, exponential()), None).unwrap();
    assert!(matches!(at_random.queue, Queue::Growing { .. }), "{:?}", at_random.queue);
}

#[test]
fn a_stall_is_charged_to_everyone_who_came_during_it() {
    let stall = |i| if i == 100 { 1.0 } else { 0.001 };
    let load = Load::of(&run(Arrivals::Steady { per_second: 100.0 }, 1000, stall), None).unwrap();
    // About 110 of 1000 requests wait until the stall and its queue are over; timed from their start, one would.
    assert!(load.latency.p90 > 0.05, "{:?}", load.latency);
    assert!(load.service.p99 < 0.002, "{:?}", load.service);
    assert_eq!(load.queue, Queue::Stable, "it drains");
}

#[test]
fn latency_is_the_sum_of_its_parts() {
    let times = run(poisson(0.9), 5000, exponential());
    for request in &times {
        let parts = request.queueing() + request.service();
        assert!((request.latency() - parts).abs() < ROUNDING);
        assert!(request.queueing() >= 0.0);
    }
}

#[test]
fn few_requests_decide_nothing() {
    let load = Load::of(&run(Arrivals::Steady { per_second: 20.0 }, 19, |_| SERVICE), None).unwrap();
    assert_eq!(load.queue, Queue::Undecided);
    let one = Load::of(&run(Arrivals::Steady { per_second: 20.0 }, 1, |_| SERVICE), None).unwrap();
    assert_eq!(one.offered_load, None);
}

#[test]
fn nonsense_is_refused() {
    let request = RequestTimes { scheduled: 1.0, started: 1.0, finished: 2.0 };
    let late = RequestTimes { scheduled: 0.5, ..request };
    let before_it_came = RequestTimes { started: 0.5, ..request };
    let unknown = RequestTimes { finished: f64::NAN, ..request };
    for bad in [vec![request, late], vec![before_it_came], vec![unknown]] {
        assert!(matches!(Load::of(&bad, None), Err(MeasureError::Sample { .. })), "{bad:?}");
    }
    assert!(matches!(Load::of(&[], None), Err(MeasureError::Empty { .. })));
    assert!(matches!(Load::of(&[request], Some(-1.0)), Err(MeasureError::Config { .. })));
    let instant = RequestTimes { scheduled: 1.0, started: 1.0, finished: 1.0 };
    assert!(matches!(Load::of(&[instant], None), Err(MeasureError::Sample { .. })), "no throughput");
}

#[test]
fn a_failing_request_is_named() {
    let clock = VirtualClock::default();
    let arrivals = Arrivals::Steady { per_second: 1.0 };
    let failing = |i| if i == 2 { Err(std::io::Error::other("out of memory")) } else { Ok(()) };
    let error = serve(&arrivals, 5, &clock, failing).unwrap_err();
    assert_eq!(error.to_string(), "request 2 failed: out of memory");
}
