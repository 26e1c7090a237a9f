//! Finding and loading: what is wrong with a plugin is said precisely, and no code of a wrong one runs.

use crate::support::{Site, fixture, manifest_of};
use std::path::PathBuf;
use tenuis_host::{LOCK_FILE, LoadError, PluginError, PluginLock, PluginRegistry};

/// A plugin whose loading leaves a trace: its initialiser ends the process.
const FATAL: &str = "#include <stdlib.h>\n__attribute__((constructor)) static void start(void) { exit(86); }\n\
                     int nothing_of_ours(void); int nothing_of_ours(void) { return 0; }";

fn entry_point(plugin: &str) -> String {
    format!(
        "{plugin}\nTN_EXPORT const tn_plugin *tenuis_plugin_v1(uint32_t m) {{ (void)m; return &PLUGIN; }}"
    )
}

#[test]
fn a_plugin_is_found_and_described() {
    let site = fixture();
    let registry = site.discover();
    let plugin = &registry.plugins()[0];
    assert!(plugin.error().is_none(), "{:?}", plugin.error());
    assert_eq!(
        (plugin.name(), plugin.version(), plugin.abi()),
        ("fixture", Some("0.1.0"), Some((1, Some(tenuis_abi::TN_ABI_MINOR))))
    );
    let hash = blake3::hash(&std::fs::read(site.library()).unwrap()).to_hex().to_string();
    assert_eq!(plugin.hash(), Some(hash.as_str()));
    let probe = registry.require("probe").unwrap();
    assert_eq!((probe.id(), probe.version(), probe.plugin_hash()), ("probe", "0.1.0", hash.as_str()));
    assert_eq!(probe.plugin_path(), site.library().canonicalize().unwrap());
    assert!(probe.capabilities().needs_hessian() && !probe.capabilities().any_tensor());
    assert_eq!(probe.kinds().collect::<Vec<_>>(), ["fixture_scaled"]);
    assert_eq!(probe.schema()["properties"]["scale"]["maximum"], 8.0);
    assert_eq!(
        registry.techniques().map(tenuis_host::Technique::id).collect::<Vec<_>>(),
        ["average", "misbehave", "misbehave_model", "probe"]
    );
}

#[test]
fn a_path_to_the_library_or_its_manifest_will_do() {
    let site = fixture();
    let manifest = site.dir.path().join("tenuis_fixture_plugin.plugin.json");
    for path in [site.library(), manifest] {
        let registry = PluginRegistry::discover(&[path]).unwrap();
        assert!(registry.technique("probe").is_some());
    }
}

#[test]
fn a_path_that_is_not_there_is_an_error_and_an_empty_one_is_not_the_current_directory() {
    for path in ["/nowhere/at/all", ""] {
        let error = PluginRegistry::discover(&[PathBuf::from(path)]).unwrap_err();
        assert!(matches!(error, LoadError::Path { .. }), "{error}");
    }
}

#[test]
fn a_library_without_a_manifest_is_not_loaded() {
    let site = Site::new("bare").c_code(FATAL);
    let error = site.error();
    assert!(
        error.contains("has no manifest; put ") && error.ends_with("bare.plugin.json beside it"),
        "{error}"
    );
}

#[test]
fn a_missing_library_is_named_with_its_plugin() {
    let site = Site::new("gone").manifest(&manifest_of(&["vanish"]));
    assert!(site.error().contains("its library"), "{}", site.error());
    let registry = site.discover();
    let PluginError::UnknownTechnique { reason, .. } = registry.require("vanish").unwrap_err() else {
        panic!("another error")
    };
    assert!(reason.starts_with("plugin \"fixture\" should provide it, but "), "{reason}");
    let other = registry.require("nope").unwrap_err().to_string();
    assert!(other.contains("no plugin in") && other.contains("could be loaded"), "{other}");
}

#[test]
fn a_library_without_the_symbol_is_not_loaded() {
    let site = Site::new("other").manifest(&manifest_of(&["x"])).c_code(FATAL);
    assert!(
        site.error().ends_with("does not export tenuis_plugin_v1; is it a Tenuis plugin?"),
        "{}",
        site.error()
    );
}

#[test]
fn another_major_version_is_refused_by_manifest_and_by_symbol_before_loading() {
    let old = manifest_of(&["x"]).replace("\"abi\":1", "\"abi\":0");
    let site = Site::new("old").manifest(&old).c_code(FATAL);
    assert!(site.error().contains("built for plugin ABI 0, this program has ABI 1"), "{}", site.error());
    let code =
        format!("{FATAL}\nTN_EXPORT void tenuis_plugin_v7(void); TN_EXPORT void tenuis_plugin_v7(void) {{}}");
    let site = Site::new("new").manifest(&manifest_of(&["x"])).c_code(&code);
    assert!(site.error().contains("built for plugin ABI 7, this program has ABI 1"), "{}", site.error());
}

#[test]
fn manifests_that_are_broken_are_refused() {
    for (text, part) in [
        ("{", "EOF"),
        (r#"{"schema":"tenuis.plugin/1"}"#, "\"abi\""),
        (&manifest_of(&["x"]).replace("tenuis.plugin/1", "tenuis.plugin/2"), "tenuis.plugin/1"),
        (&manifest_of(&["x"]).replace("\"name\"", "\"nam\""), "nam"),
        (&manifest_of(&[]), "\"techniques\" is empty"),
    ] {
        let site = Site::new("bad").manifest(text).c_code(FATAL);
        assert!(site.error().contains(part), "{}", site.error());
    }
}

#[test]
fn what_is_not_a_library_is_refused() {
    let site = Site::new("text").manifest(&manifest_of(&["x"])).bytes(b"not a library");
    assert!(site.error().contains("is not a dynamic library"), "{}", site.error());
    let site = fixture();
    let whole = std::fs::read(site.library()).unwrap();
    let site = site.bytes(&whole[..200]);
    assert!(site.error().contains("is not a dynamic library"), "{}", site.error());
}

#[test]
#[cfg(target_os = "linux")]
fn a_library_for_another_processor_is_refused() {
    let site = fixture();
    let mut bytes = std::fs::read(site.library()).unwrap();
    // e_machine: AArch64 (183), or x86-64 (62) where that is what runs.
    let other: u16 = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    bytes[18..20].copy_from_slice(&other.to_le_bytes());
    let site = site.bytes(&bytes);
    let error = site.error();
    let name = if cfg!(target_arch = "aarch64") { "x86_64" } else { "aarch64" };
    assert!(error.contains(&format!("built for {name} on Linux")), "{error}");
    assert!(error.contains(&format!("this program runs on {}", std::env::consts::ARCH)), "{error}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_library_for_another_system_is_refused() {
    // The header of a 64-bit Mach-O dynamic library for arm64 without commands.
    let words = [0xfeed_facf_u32, 0x0100_000c, 0, 6, 0, 0, 0, 0];
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let site = Site::new("mac").manifest(&manifest_of(&["x"])).bytes(&bytes);
    assert!(site.error().contains("built for aarch64 on macOS"), "{}", site.error());
}

#[test]
fn what_the_entry_point_returns_is_checked() {
    let table = |fields: &str| format!("static const tn_plugin PLUGIN = {{{fields}}};");
    let cases = [
        (table("0x1234, sizeof(tn_plugin), 1, 0, 0, 1, NULL"), "the magic number is 0x0000000000001234"),
        (table("TN_MAGIC, 12, 1, 0, 0, 1, NULL"), "its plugin struct is too short"),
        (table("TN_MAGIC, sizeof(tn_plugin), 2, 0, 0, 1, NULL"), "built for plugin ABI 2"),
        (table("TN_MAGIC, sizeof(tn_plugin), 1, 9, 9, 1, NULL"), "needs plugin ABI 1.9 or later, this program has 1.1"),
        (table("TN_MAGIC, sizeof(tn_plugin), 1, 0, 0, 0, NULL"), "it says that it has 0 techniques"),
        (
            "static const tn_technique T = {.struct_size = sizeof(tn_technique), .scope = TN_SCOPE_GROUP, .id = {\"x\", 1}};\n\
             static const tn_technique *const ALL[] = {&T};\n\
             static const tn_plugin PLUGIN = {TN_MAGIC, sizeof(tn_plugin), 1, 0, 0, 1, ALL};"
                .to_owned(),
            "a function that its scope, flags or kinds call for is null",
        ),
    ];
    for (index, (code, part)) in cases.into_iter().enumerate() {
        // Each has a name of its own: a loader may know a library by its name.
        let site =
            Site::new(&format!("wrong{index}")).manifest(&manifest_of(&["x"])).c_code(&entry_point(&code));
        assert!(site.error().contains(part), "{}", site.error());
    }
    let null = "TN_EXPORT const tn_plugin *tenuis_plugin_v1(uint32_t m) { (void)m; return NULL; }";
    let site = Site::new("null").manifest(&manifest_of(&["x"])).c_code(null);
    assert!(site.error().contains("does not accept plugin ABI 1.1"), "{}", site.error());
}

#[test]
fn techniques_must_be_those_of_the_manifest() {
    let site = fixture().manifest(&manifest_of(&["probe"]));
    let error = site.error();
    assert!(
        error.contains("the manifest lists techniques [probe], the library has [probe, average, misbehave, misbehave_model]"),
        "{error}"
    );
}

#[test]
fn a_lock_pins_the_hash() {
    let site = fixture();
    let hash = site.discover().plugins()[0].hash().unwrap().to_owned();
    let name = site.library().file_name().unwrap().to_str().unwrap().to_owned();
    let write = |text: &str| std::fs::write(site.dir.path().join(LOCK_FILE), text).unwrap();
    let mut lock = PluginLock::default();
    lock.pin(&name, &hash);
    write(&lock.to_string());
    assert!(site.discover().technique("probe").is_some());
    write(&lock.to_string().replace(&hash, &"0".repeat(64)));
    assert!(site.error().contains("pins 0000"), "{}", site.error());
    write("# nothing\n");
    assert!(site.error().contains("is not listed in"), "{}", site.error());
    write("what?\n");
    assert!(site.error().contains("line 1"), "{}", site.error());
}

#[test]
fn the_first_of_two_plugins_keeps_a_name() {
    let (first, second) = (fixture(), fixture());
    let paths = [first.dir.path().to_owned(), second.dir.path().to_owned(), first.dir.path().to_owned()];
    let registry = PluginRegistry::discover(&paths).unwrap();
    assert_eq!(registry.plugins().len(), 2);
    assert!(registry.plugins()[0].error().is_none());
    let error = registry.plugins()[1].error().unwrap().to_string();
    assert!(error.contains("technique \"probe\" is already provided by"), "{error}");
    assert!(
        registry
            .technique("probe")
            .unwrap()
            .plugin_path()
            .starts_with(first.dir.path().canonicalize().unwrap())
    );
}
