//! Two seconds of measuring what this machine can do.

use crate::error::PreflightError;
use crate::room::Room;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tenuis_linalg::{MatMut, MatRef, multiply_add_parallel};

/// How long each of the four is measured; together about two seconds.
const SPAN: Duration = Duration::from_millis(450);
/// Rows of the calibration batch, and the inputs and outputs of a Linear that is small enough to be multiplied several times.
const WIDE: [usize; 3] = [2048, 768, 768];
/// Rows, columns and inner dimension of a product as it stands between the columns of a technique.
const SQUARE: [usize; 3] = [1024, 1024, 1024];
/// Bytes that are read from memory: far more than any last-level cache but the largest servers'.
const READ_BYTES: usize = 256 << 20;
/// Bytes that are written to the disk.
const WRITE_BYTES: usize = 64 << 20;
/// Of free memory or disk, the most that is used for a measurement.
const SHARE: u64 = 8;

/// What a machine can do, measured on all threads of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Probe {
    /// Threads that took part.
    pub threads: u64,
    /// 10⁹ operations per second of f32 products `[2048, 768] · [768, 768]`, as a batch goes through a Linear.
    pub wide_gflops: f64,
    /// The same of `[1024, 1024] · [1024, 1024]`.
    pub square_gflops: f64,
    /// Bytes per second that all threads read from memory.
    pub read_bytes_per_second: f64,
    /// Bytes per second that reach the disk for good; absent where there was too little room to try.
    pub write_bytes_per_second: Option<f64>,
    /// How long measuring took.
    pub seconds: f64,
}

impl Probe {
    /// Measures for about two seconds; `dir` is where the output will be, or a directory above it.
    ///
    /// # Errors
    /// [`PreflightError::Probe`] where nothing can be written there.
    pub fn run(dir: &Path) -> Result<Self, PreflightError> {
        let started = Instant::now();
        let dir = existing(dir);
        let room = Room::at(&dir);
        let wide_gflops = gflops(WIDE);
        let square_gflops = gflops(SQUARE);
        let bytes = room.ram_available.map_or(READ_BYTES, |free| READ_BYTES.min((free / SHARE) as usize));
        let read_bytes_per_second = reading(bytes);
        let fits = room.disk_available.is_none_or(|free| free / SHARE >= WRITE_BYTES as u64);
        let write_bytes_per_second = if fits { Some(writing(&dir)?) } else { None };
        Ok(Self {
            threads: rayon::current_num_threads() as u64,
            wide_gflops,
            square_gflops,
            read_bytes_per_second,
            write_bytes_per_second,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// A machine as it is known from elsewhere, with as fast a product of either shape.
    pub const fn known(threads: u64, gflops: f64, read_bytes_per_second: f64) -> Self {
        Self {
            threads,
            wide_gflops: gflops,
            square_gflops: gflops,
            read_bytes_per_second,
            write_bytes_per_second: None,
            seconds: 0.0,
        }
    }
}

/// The directory, or the nearest above it that is there.
pub(crate) fn existing(dir: &Path) -> PathBuf {
    let above = dir.ancestors().filter(|path| !path.as_os_str().is_empty());
    above.into_iter().find(|path| path.is_dir()).unwrap_or(Path::new(".")).to_owned()
}

/// Repeats `run` for the span and gives the median of its times in seconds: what happens to be in the way counts, as it will
/// count then, but not a single stop.
fn median_time(mut run: impl FnMut()) -> f64 {
    run();
    let started = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || started.elapsed() < SPAN {
        let begun = Instant::now();
        run();
        times.push(begun.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2].max(f64::MIN_POSITIVE)
}

fn gflops([rows, columns, inner]: [usize; 3]) -> f64 {
    let (x, weight) = (vec![0.5_f32; rows * inner], vec![0.25_f32; columns * inner]);
    let mut y = vec![0.0_f32; rows * columns];
    let seconds = median_time(|| {
        multiply_add_parallel(
            MatMut::new(&mut y, [rows, columns], [columns, 1]),
            1.0,
            MatRef::new(&x, [rows, inner], [inner, 1]),
            // Row-major `[out, in]`, as weights are.
            MatRef::new(&weight, [inner, columns], [1, inner]),
        );
        black_box(&mut y);
    });
    2e-9 * (rows * columns * inner) as f64 / seconds
}

fn reading(bytes: usize) -> f64 {
    let words = vec![1_u64; (bytes / size_of::<u64>()).max(1)];
    let piece = words.len().div_ceil(4 * rayon::current_num_threads().max(1)).max(1);
    let seconds = median_time(|| {
        let sum: u64 = words.par_chunks(piece).map(|piece| piece.iter().sum::<u64>()).sum();
        black_box(sum);
    });
    size_of_val(words.as_slice()) as f64 / seconds
}

/// A file that is gone when the measurement is over, whatever happens.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn writing(dir: &Path) -> Result<f64, PreflightError> {
    let path = dir.join(format!(".tenuis-probe-{}", std::process::id()));
    let failed = |source| PreflightError::Probe { dir: dir.to_owned(), source };
    let mut file = File::create_new(&path).map_err(failed)?;
    let scratch = Scratch(path);
    // Not zeros: a file system might not write those.
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 32) as u8
    };
    let piece: Vec<u8> = std::iter::repeat_with(&mut random).take(1 << 20).collect();
    let started = Instant::now();
    let mut written = 0;
    while written < WRITE_BYTES && (written == 0 || started.elapsed() < SPAN) {
        file.write_all(&piece).map_err(failed)?;
        written += piece.len();
    }
    file.sync_all().map_err(failed)?;
    let seconds = started.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
    drop(scratch);
    Ok(written as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A probe tells positive rates, takes about as long as it says and leaves nothing behind.
    #[test]
    fn measures_and_cleans_up() {
        let dir = tempfile::tempdir().unwrap();
        let probe = Probe::run(&dir.path().join("not/there/yet")).unwrap();
        assert!(probe.wide_gflops > 0.1 && probe.square_gflops > 0.1, "{probe:?}");
        assert!(probe.read_bytes_per_second > 1e7 && probe.threads > 0, "{probe:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let text = serde_json::to_string(&probe).unwrap();
        assert_eq!(serde_json::from_str::<Probe>(&text).unwrap(), probe);
    }
}
