//! Puts the program and its plugins under a prefix, laid out so that they find each other.

use crate::artifacts::Artifacts;
use crate::error::Error;
use crate::files::{create_dir, replace};
use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};

/// One file to install.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    from: Utf8PathBuf,
    to: Utf8PathBuf,
}

impl Step {
    /// The sentence for the terminal.
    pub(crate) fn describe(&self) -> String {
        format!("{} -> {}", self.from, self.to)
    }

    /// Copies the file atomically. Returns `false` where it was there already.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn carry_out(&self) -> Result<bool, Error> {
        if let Some(parent) = self.to.parent() {
            create_dir(parent)?;
        }
        replace(&self.from, &self.to)
    }
}

/// Lists what goes where: `PREFIX/lib/tenuis/plugins/*`, then `PREFIX/bin/tenuis`, which looks for its plugins in
/// `../lib/tenuis/plugins`. The program comes last so that it never runs without them.
pub(crate) fn plan(artifacts: &Artifacts, prefix: &Utf8Path) -> Vec<Step> {
    let plugins = prefix.join("lib").join("tenuis").join("plugins");
    let mut steps: Vec<_> = artifacts
        .plugin_files
        .iter()
        .map(|name| Step { from: artifacts.plugin_dir.join(name), to: plugins.join(name) })
        .collect();
    let name = artifacts.program.file_name().unwrap_or("tenuis");
    steps.push(Step { from: artifacts.program.clone(), to: prefix.join("bin").join(name) });
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;

    #[test]
    fn plugins_come_before_the_program_and_a_second_install_copies_nothing() {
        let guard = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
        let release = root.join("release");
        create_dir(&release.join("plugins")).unwrap();
        fs::write(release.join("tenuis"), "program").unwrap();
        fs::write(release.join("plugins/libx.so"), "library").unwrap();
        fs::write(release.join("plugins/x.plugin.json"), "{}").unwrap();
        let artifacts = Artifacts {
            program: release.join("tenuis"),
            plugin_dir: release.join("plugins"),
            plugin_files: BTreeSet::from(["libx.so".to_owned(), "x.plugin.json".to_owned()]),
        };

        let prefix = root.join("prefix");
        let steps = plan(&artifacts, &prefix);
        assert_eq!(steps.last().unwrap().to, prefix.join("bin/tenuis"));
        assert!(!prefix.exists(), "a plan alone changes nothing");
        assert!(steps.iter().all(|step| step.carry_out().unwrap()));
        assert_eq!(fs::read_to_string(prefix.join("lib/tenuis/plugins/libx.so")).unwrap(), "library");
        assert!(prefix.join("lib/tenuis/plugins/x.plugin.json").exists());
        assert!(steps.iter().all(|step| !step.carry_out().unwrap()));
    }
}
