//! Long work without a terminal.

use crate::exit::Failure;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The flag that asks for it.
const FLAG: &str = "--detach";

/// Starts this very command again without the flag, in a process group of its own that outlives the terminal, with its
/// output in `OUT.log`. Returns what to tell the user.
pub(crate) fn detach(out: &Path) -> Result<String, Failure> {
    let log = log_file(out);
    if let Some(parent) = log.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|e| Failure::output(parent, e))?;
    }
    let file =
        OpenOptions::new().create(true).append(true).open(&log).map_err(|e| Failure::output(&log, e))?;
    let both = file.try_clone().map_err(|e| Failure::output(&log, e))?;
    let program = std::env::current_exe().map_err(|e| {
        Failure::usage(format!("cannot find this program's own path ({e}); leave {FLAG} out"))
    })?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1).filter(|argument| argument != FLAG));
    command.stdin(Stdio::null()).stdout(file).stderr(both);
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command.spawn().map_err(|e| Failure::output(&log, e))?;
    Ok(format!(
        "process {} works in the background, its output is in {}\nkill {} stops it; the same command goes on from \
         what it has saved\n",
        child.id(),
        log.display(),
        child.id()
    ))
}

/// `DIR.log` beside `DIR`.
fn log_file(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".log");
    PathBuf::from(name)
}
