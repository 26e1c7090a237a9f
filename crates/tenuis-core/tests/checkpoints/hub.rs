//! The cache of the Hugging Face hub.

use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tenuis_core::hub::{HubCache, HubError, HubName, Snapshot, locate, looks_like_hub_name};
use tenuis_core::{Checkpoint, CheckpointWriter, DType, Tensor, WriterOptions};

const FIRST: &str = "0123abcdef0123abcdef0123abcdef0123abcdef";
const SECOND: &str = "0123abcfffffffffffffffffffffffffffffffff";

struct Fixture {
    temp: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { temp: tempfile::tempdir().unwrap() }
    }

    fn cache(&self) -> HubCache {
        HubCache::at(self.temp.path().join("hub"))
    }

    fn model(&self, name: &str) -> PathBuf {
        self.temp.path().join("hub").join(format!("models--{}", name.replace('/', "--")))
    }

    fn refer(&self, model: &str, branch: &str, commit: &str) {
        let file = self.model(model).join("refs").join(branch);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, commit).unwrap();
    }

    /// Puts files as the library does: blobs by hash, and links to them in the snapshot.
    fn download(&self, model: &str, commit: &str, files: &[(&str, Vec<u8>)]) -> PathBuf {
        let (blobs, snapshot) =
            (self.model(model).join("blobs"), self.model(model).join("snapshots").join(commit));
        fs::create_dir_all(&blobs).unwrap();
        fs::create_dir_all(&snapshot).unwrap();
        for (file, content) in files {
            let blob = format!("{commit}-{file}");
            fs::write(blobs.join(&blob), content).unwrap();
            symlink(format!("../../blobs/{blob}"), snapshot.join(file)).unwrap();
        }
        snapshot
    }

    fn find(&self, name: &str) -> Result<Snapshot, HubError> {
        self.cache().snapshot(&name.parse().unwrap())
    }

    fn message(&self, name: &str) -> String {
        self.find(name).unwrap_err().to_string()
    }
}

/// The files of a real checkpoint, sharded where `max` says so.
fn files(dir: &Path, max: u64) -> Vec<(String, Vec<u8>)> {
    let target = dir.join("made");
    let options = WriterOptions::default().max_shard_bytes(max).overwrite(true);
    let mut writer = CheckpointWriter::create(&target, &[], options).unwrap();
    for (name, value) in [("a", 1.0_f32), ("b", 2.0)] {
        writer.put(name, &Tensor::from_vec(DType::F32, vec![1], vec![value]).unwrap()).unwrap();
    }
    writer.finish(&json!({ "model_type": "llama" }), json!({})).unwrap();
    let names = fs::read_dir(&target).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.map(|name| (name.clone(), fs::read(target.join(&name)).unwrap())).collect()
}

fn borrowed(files: &[(String, Vec<u8>)]) -> Vec<(&str, Vec<u8>)> {
    files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect()
}

/// Branch, tag, whole commit, its beginning and nothing at all lead to a snapshot that opens through its links.
#[test]
fn names_lead_to_snapshots_that_open() {
    let fixture = Fixture::new();
    let made = files(fixture.temp.path(), 4);
    assert!(made.iter().filter(|(name, _)| name.ends_with(".safetensors")).count() == 2, "two shards");
    let snapshot = fixture.download("org/name", FIRST, &borrowed(&made));
    // No branch yet: the only snapshot.
    assert_eq!(fixture.find("org/name").unwrap().dir, snapshot);
    let other = fixture.download("org/name", SECOND, &borrowed(&made));
    fixture.refer("org/name", "main", &format!("{FIRST}\n"));
    fixture.refer("org/name", "refs/pr/1", SECOND);
    for (name, dir) in [
        ("org/name".to_owned(), &snapshot),
        ("org/name@main".to_owned(), &snapshot),
        ("org/name@refs/pr/1".to_owned(), &other),
        (format!("org/name@{SECOND}"), &other),
        ("org/name@0123ABCD".to_owned(), &snapshot),
    ] {
        let found = fixture.find(&name).unwrap();
        assert_eq!(&found.dir, dir, "{name}");
        assert_eq!(found.dir.file_name().unwrap().to_str(), Some(found.commit.as_str()));
        let checkpoint = Checkpoint::open(&locate(&name, &fixture.cache()).unwrap()).unwrap();
        assert_eq!(checkpoint.tensor("b").unwrap().to_f32().unwrap()[..], [2.0]);
        assert!(checkpoint.warnings().is_empty(), "{:?}", checkpoint.warnings());
    }
    let ambiguous = fixture.message("org/name@0123abc");
    assert!(ambiguous.contains(FIRST) && ambiguous.contains("org/name@COMMIT"), "{ambiguous}");
    let short = fixture.message("org/name@0123ab");
    assert!(short.contains("does not hold revision 0123ab"), "six digits are too few: {short}");
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let fixture = Fixture::new();
    let nothing = fixture.message("org/name");
    let cache = fixture.temp.path().join("hub").display().to_string();
    assert!(nothing.contains(&cache) && nothing.ends_with("hf download org/name"), "{nothing}");
    assert!(!nothing.contains("only"), "there is nothing to list: {nothing}");
    let made = files(fixture.temp.path(), u64::MAX);
    for model in ["aaa/other", "org/else", "me/Name-Chat"] {
        fixture.download(model, FIRST, &borrowed(&made));
    }
    let near = fixture.message("org/name");
    assert!(near.contains("only me/Name-Chat, org/else, aaa/other;"), "the most alike first: {near}");
    fixture.refer("org/else", "v1", FIRST);
    let revision = fixture.message("org/else@v2");
    assert!(revision.contains(&format!("revision v2 of org/else, only v1, {FIRST}")), "{revision}");
    assert!(revision.ends_with("hf download org/else --revision v2"), "{revision}");
    // No branch and several snapshots, then a branch whose snapshot was removed.
    fixture.download("org/else", SECOND, &borrowed(&made));
    assert!(
        matches!(fixture.find("org/else"), Err(HubError::Ambiguous { found, .. }) if found == [FIRST, SECOND])
    );
    fixture.refer("org/else", "main", "ffff");
    assert!(matches!(fixture.find("org/else"), Err(HubError::NoRevision { .. })));
    fixture.refer("org/else", "main", "../../../elsewhere");
    assert!(matches!(fixture.find("org/else"), Err(HubError::File { .. })), "a ref must not lead out");
}

#[test]
fn unfinished_downloads_are_listed() {
    let fixture = Fixture::new();
    let made = files(fixture.temp.path(), 4);
    let snapshot = fixture.download("org/name", FIRST, &borrowed(&made));
    fs::remove_file(snapshot.join("config.json")).unwrap();
    fs::remove_file(snapshot.join("model-00002-of-00002.safetensors")).unwrap();
    let first =
        fixture.model("org/name").join("blobs").join(format!("{FIRST}-model-00001-of-00002.safetensors"));
    fs::remove_file(first).unwrap();
    let error = fixture.find("org/name").unwrap_err();
    let HubError::Incomplete { missing, .. } = &error else { panic!("{error}") };
    let expected = ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    assert_eq!(missing[..], expected);
    assert!(error.to_string().ends_with("hf download org/name"), "{error}");
    let empty = fixture.download("org/empty", FIRST, &[]);
    fs::write(empty.join("README.md"), "").unwrap();
    let HubError::Incomplete { missing, .. } = fixture.find("org/empty").unwrap_err() else { panic!() };
    assert_eq!(missing, ["config.json", "model.safetensors"]);
    let broken = fixture.download("org/broken", FIRST, &[("model.safetensors.index.json", b"[".to_vec())]);
    let error = fixture.find("org/broken").unwrap_err();
    assert!(matches!(&error, HubError::File { file, .. } if file.parent() == Some(&broken)), "{error}");
}

#[test]
fn paths_win_and_other_texts_are_no_names() {
    let fixture = Fixture::new();
    let path = fixture.temp.path().to_str().unwrap();
    assert_eq!(locate(path, &fixture.cache()).unwrap(), fixture.temp.path());
    assert_eq!(locate("missing", &fixture.cache()).unwrap(), Path::new("missing"));
    // Tests run in the crate's directory.
    assert!(Path::new("src/hub").exists() && "src/hub".parse::<HubName>().is_ok());
    assert_eq!(locate("src/hub", &fixture.cache()).unwrap(), Path::new("src/hub"));
    assert!(!looks_like_hub_name("src/hub"));
    assert!(matches!(locate("src/not-there", &fixture.cache()), Err(HubError::NoModel { .. })));
    for text in [
        "a", "a/b/c", "/a/b", "../b", "a/..", "a/b@", "a/b@../c", "a/b@/c", "a--b/c", "a/b.git", "a b/c",
        "a/",
    ] {
        assert!(text.parse::<HubName>().is_err(), "{text}");
        assert_eq!(locate(text, &fixture.cache()).unwrap(), Path::new(text));
    }
}

#[test]
fn the_environment_says_where_the_cache_is() {
    let cache = |set: &[(&str, &str)]| {
        let found =
            HubCache::from_variables(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into()));
        found.dir().map(Path::to_owned)
    };
    let home = ("HOME", "/u");
    let at = |path: &str| Some(PathBuf::from(path));
    assert_eq!(cache(&[home, ("XDG_CACHE_HOME", "/x")]), at("/x/huggingface/hub"));
    assert_eq!(cache(&[home, ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/h")]), at("/h/hub"));
    assert_eq!(cache(&[home, ("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")]), at("/c"));
    assert_eq!(cache(&[home, ("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/old")]), at("/old"));
    assert_eq!(cache(&[home, ("HF_HUB_CACHE", "")]), at("/u/.cache/huggingface/hub"));
    assert_eq!(cache(&[]), None);
    let nowhere = HubCache::from_variables(|_| None).snapshot(&"a/b".parse().unwrap());
    assert!(matches!(nowhere, Err(HubError::NoHome { .. })));
}
