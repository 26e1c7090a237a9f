//! Plugin directories for the tests.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX, EXE_SUFFIX};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;
use tenuis_core::{DType, Dense, Tensor, Weight};
use tenuis_host::{DiscoverOptions, Isolation, PluginRegistry, WorkerLimits, WorkerProgram};

pub(crate) fn manifest_of(techniques: &[&str]) -> String {
    let quoted: Vec<String> = techniques.iter().map(|t| format!("{t:?}")).collect();
    format!(
        r#"{{"schema":"tenuis.plugin/1","abi":1,"name":"fixture","version":"0.1.0","techniques":[{}]}}"#,
        quoted.join(",")
    )
}

/// A directory with one plugin in it.
pub(crate) struct Site {
    pub(crate) dir: TempDir,
    stem: String,
    isolation: Isolation,
}

impl Site {
    pub(crate) fn new(stem: &str) -> Self {
        Self { dir: TempDir::new().unwrap(), stem: stem.to_owned(), isolation: Isolation::InProcess }
    }

    pub(crate) fn library(&self) -> PathBuf {
        self.dir.path().join(format!("{DLL_PREFIX}{}{DLL_SUFFIX}", self.stem))
    }

    pub(crate) fn manifest(self, text: &str) -> Self {
        std::fs::write(self.dir.path().join(format!("{}.plugin.json", self.stem)), text).unwrap();
        self
    }

    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        std::fs::write(self.library(), bytes).unwrap();
        self
    }

    /// Compiles a C source with the shipped header.
    pub(crate) fn c(self, source: &Path) -> Self {
        let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tenuis-abi/include");
        let output = Command::new("cc")
            .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2", "-fPIC", "-shared", "-I"])
            .arg(include)
            .arg("-o")
            .args([&self.library(), source])
            .arg("-lm")
            .output()
            .expect("the tests need a C compiler named cc");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self
    }

    /// Compiles C code that follows the header's include.
    pub(crate) fn c_code(self, code: &str) -> Self {
        let source = self.dir.path().join("plugin.c");
        std::fs::write(&source, format!("#include \"tenuis_plugin.h\"\n{code}")).unwrap();
        self.c(&source)
    }

    pub(crate) fn discover(&self) -> PluginRegistry {
        self.discover_within(WorkerLimits::default())
    }

    /// As [`discover`](Self::discover), with limits for workers.
    pub(crate) fn discover_within(&self, limits: WorkerLimits) -> PluginRegistry {
        let mut options = DiscoverOptions::default();
        options.isolation = self.isolation;
        options.worker = Some(WorkerProgram::new(example("tenuis_fixture_worker", EXE_SUFFIX), [""; 0]));
        options.limits = limits;
        PluginRegistry::discover_with(&[self.dir.path().to_owned()], &options).unwrap()
    }

    /// The same directory, whose plugin runs in workers.
    pub(crate) fn isolated(self) -> Self {
        Self { isolation: Isolation::Process, ..self }
    }

    /// The message of the only plugin, which could not be loaded.
    pub(crate) fn error(&self) -> String {
        let registry = self.discover();
        assert_eq!(registry.plugins().len(), 1);
        let entry = &registry.plugins()[0];
        assert!(entry.techniques().is_empty());
        entry.error().expect("it cannot be loaded").to_string()
    }
}

/// The Rust plugin of `tests/data/fixture_plugin.rs`, in a directory of its own.
pub(crate) fn fixture() -> Site {
    let library = example(&format!("{DLL_PREFIX}tenuis_fixture_plugin"), DLL_SUFFIX);
    let techniques = ["probe", "average", "misbehave", "misbehave_model"];
    let site = Site::new("tenuis_fixture_plugin").manifest(&manifest_of(&techniques));
    std::fs::copy(library, site.library()).unwrap();
    site
}

/// The same plugin in workers.
pub(crate) fn isolated_fixture() -> Site {
    fixture().isolated()
}

/// An example of this crate.
pub(crate) fn example(name: &str, suffix: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).expect("tests lie in PROFILE/deps");
    let file = profile.join("examples").join(format!("{name}{suffix}"));
    assert!(file.exists(), "{} is missing; cargo builds it with --examples", file.display());
    file
}

pub(crate) fn dense(rows: usize, columns: usize, value: impl Fn(usize) -> f32) -> Weight {
    let values: Vec<f32> = (0..rows * columns).map(value).collect();
    Arc::new(Dense::new(Tensor::from_f32(DType::F32, vec![rows, columns], &values).unwrap()).unwrap())
}

/// C code of a plugin with the technique `in_c`, which does in `group_finish` what the statements say and returns `TN_OK`.
pub(crate) fn c_technique(before: &str, finish: &str) -> String {
    format!(
        "{before}\n\
         static int32_t create(const tn_host *h, tn_str c, void **job, tn_err *e) {{ (void)h; (void)c; (void)e; *job = NULL; return TN_OK; }}\n\
         static int32_t begin(void *j, const tn_group *g, tn_err *e) {{ (void)j; (void)g; (void)e; return TN_OK; }}\n\
         static int32_t finish(void *j, const tn_group *g, tn_err *e) {{ (void)j; (void)g; (void)e; {finish} return TN_OK; }}\n\
         static void destroy(void *j) {{ (void)j; }}\n\
         #define SCHEMA \"{{\\\"type\\\":\\\"object\\\",\\\"additionalProperties\\\":false}}\"\n\
         static const tn_technique T = {{.struct_size = sizeof(tn_technique), .scope = TN_SCOPE_GROUP,\n\
         .id = {{\"in_c\", 4}}, .version = {{\"1\", 1}}, .config_schema = {{SCHEMA, sizeof SCHEMA - 1}},\n\
         .create = create, .group_begin = begin, .group_finish = finish, .destroy = destroy}};\n\
         static const tn_technique *const ALL[] = {{&T}};\n\
         static const tn_plugin PLUGIN = {{TN_MAGIC, sizeof(tn_plugin), 1, 0, 0, 1, ALL}};\n\
         TN_EXPORT const tn_plugin *tenuis_plugin_v1(uint32_t m) {{ (void)m; return &PLUGIN; }}"
    )
}
