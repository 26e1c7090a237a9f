//! The shipped header is the one that the structs generate, and C and C++ compilers see the layout that Rust sees.
//!
//! `TENUIS_BLESS=1 cargo test -p tenuis-abi` rewrites the header and the recorded layout.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use std::fmt::Write as _;
use std::mem::{align_of, offset_of, size_of};
use std::path::{Path, PathBuf};
use std::process::Command;
use tenuis_abi::*;

const PREAMBLE: &str = r"/* The plugin ABI of Tenuis, version 1. Generated from crates/tenuis-abi; do not edit.
 *
 * A plugin exports one symbol, tenuis_plugin_v1. The rules are in docs/plugins.md; in short:
 * - Structs with a struct_size may grow at their end. Set it to sizeof; read a field only if TN_HAS says that it is
 *   there.
 * - Pointers are borrowed for the call. Results go into buffers of out_alloc, messages into the caller's tn_err.
 * - Nothing may unwind or longjmp across the border.
 */";

const MACROS: &str = r"
#if defined(_WIN32)
#define TN_EXPORT __declspec(dllexport)
#else
#define TN_EXPORT __attribute__((visibility(TN_DEFAULT_VISIBILITY)))
#endif

/* Whether the struct that p points to is long enough to have field f of type T. */
#define TN_HAS(p, T, f) ((p)->struct_size >= offsetof(T, f) + sizeof((p)->f))
";

const TRAILER: &str = r"#ifdef __cplusplus
extern C_LINKAGE
#endif
/* The symbol that a plugin exports. NULL = does not work with a host of this minor version. */
TN_EXPORT const tn_plugin *tenuis_plugin_v1(uint32_t host_minor);";

fn generate() -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut config = cbindgen::Config {
        language: cbindgen::Language::C,
        style: cbindgen::Style::Both,
        cpp_compat: true,
        documentation: true,
        documentation_style: cbindgen::DocumentationStyle::C,
        documentation_length: cbindgen::DocumentationLength::Full,
        include_guard: Some("TENUIS_PLUGIN_H".to_owned()),
        no_includes: true,
        sys_includes: vec!["stddef.h".to_owned(), "stdint.h".to_owned()],
        header: Some(PREAMBLE.to_owned()),
        after_includes: Some(MACROS.replace("TN_DEFAULT_VISIBILITY", "\"default\"")),
        trailer: Some(TRAILER.replace("C_LINKAGE", "\"C\"")),
        line_length: 110,
        tab_width: 2,
        ..cbindgen::Config::default()
    };
    config.export.include = vec!["tn_plugin".to_owned(), "tn_plugin_entry".to_owned()];
    let mut text = Vec::new();
    cbindgen::Builder::new()
        .with_config(config)
        .with_src(src.join("constants.rs"))
        .with_src(src.join("data.rs"))
        .with_src(src.join("vtable.rs"))
        .generate()
        .expect("the structs parse")
        .write(&mut text);
    String::from_utf8(text).expect("a header is text")
}

/// Compares with a committed file, or rewrites it.
fn check(path: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("TENUIS_BLESS").is_some() {
        std::fs::write(&path, generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "{} is stale; run TENUIS_BLESS=1 cargo test -p tenuis-abi and look at the difference",
        path.display()
    );
}

#[test]
fn the_committed_header_is_the_generated_one() {
    check("include/tenuis_plugin.h", &generate());
}

macro_rules! layout {
    ($($name:ident { $($field:ident)* })*) => {
        vec![$((stringify!($name), size_of::<$name>(), align_of::<$name>(), vec![$((stringify!($field), offset_of!($name, $field))),*])),*]
    };
}

/// Struct, size, alignment, and the offset of every field.
type Layout = Vec<(&'static str, usize, usize, Vec<(&'static str, usize)>)>;

fn layout() -> Layout {
    layout! {
        tn_str { ptr len }
        tn_dtype { code bits lanes }
        tn_err { struct_size len msg }
        tn_tensor { struct_size flags dtype device_type device_id ndim shape strides data byte_len name }
        tn_weight { struct_size n_components out_features in_features descriptor components dense mask original }
        tn_linear { struct_size index name weight bias }
        tn_group { struct_size n_linears block n_blocks linears hessian moments calib_rows producer }
        tn_tokens { struct_size reserved n_sequences sequence_length hash ctx read }
        tn_checkpoint {
            struct_size n_weights n_tensors reserved config_json spec_json hash weights tensors ctx decode
        }
        tn_model { struct_size n_statistics student teacher train valid statistics state_dir ctx eval_loss }
        tn_host {
            struct_size abi_minor ctx thread_budget reserved cancelled progress log metric metric_at parallel_for
            out_alloc emit fold out_loss emit_tensor emit_weight emit_copy remove retract set_config ext seed
        }
        tn_technique {
            struct_size scope caps id version config_schema n_kinds reserved kinds create accepts estimate group_begin
            group_tile group_finish model_run model_estimate destroy decode ext model_statistics
        }
        tn_plugin { magic struct_size abi_major abi_minor min_host_minor n_techniques techniques }
    }
}

/// A field that moves breaks every plugin that was ever built.
#[test]
#[cfg(target_pointer_width = "64")]
fn the_layout_is_the_recorded_one() {
    let mut text = String::new();
    for (name, size, align, fields) in layout() {
        writeln!(text, "{name} size {size} align {align}").unwrap();
        for (field, offset) in fields {
            writeln!(text, "  {offset:4} {field}").unwrap();
        }
    }
    check("tests/layout.txt", &text);
}

/// A source file that includes the header and asserts Rust's numbers.
fn assertions(keyword: &str) -> String {
    let mut source = "#include \"tenuis_plugin.h\"\n".to_owned();
    for (name, size, _, fields) in layout() {
        writeln!(source, "{keyword}(sizeof({name}) == {size}, \"size of {name}\");").unwrap();
        for (field, offset) in fields {
            writeln!(source, "{keyword}(offsetof({name}, {field}) == {offset}, \"{name}.{field}\");")
                .unwrap();
        }
    }
    for (name, value) in
        [("TN_MAGIC", TN_MAGIC), ("TN_KEEPS_MASK", TN_KEEPS_MASK), ("TN_PANIC", TN_PANIC as u64)]
    {
        writeln!(source, "{keyword}({name} == {value}ull, \"{name}\");").unwrap();
    }
    source.push_str(
        "int has_fold(const tn_host *host);\nint has_fold(const tn_host *host) { return TN_HAS(host, tn_host, fold); }\n\
         const tn_plugin *tenuis_plugin_v1(uint32_t host_minor) { (void)host_minor; return NULL; }\n",
    );
    source
}

fn compile(compiler: &str, standard: &str, extension: &str, keyword: &str) {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let source = directory.join(format!("layout.{extension}"));
    std::fs::write(&source, assertions(keyword)).unwrap();
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let output = Command::new(compiler)
        .args([standard, "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "-I"])
        .arg(include)
        .arg(&source)
        .output()
        .unwrap_or_else(|e| panic!("{compiler}: {e}; the header is checked with a C and a C++ compiler"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_header_compiles_as_c11_with_the_same_layout() {
    compile("cc", "-std=c11", "c", "_Static_assert");
}

#[test]
fn the_header_compiles_as_cpp17_with_the_same_layout() {
    compile("c++", "-std=c++17", "cpp", "static_assert");
}
