//! The page in a real browser: its script runs, tables sort, nothing is loaded, and nothing is wider than a phone.
//!
//! Where there is no Chromium, the test says so and ends; where `TENUIS_BROWSER` is set to `required`, as in CI, it fails.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};
use tenuis_report::render_str;

const FULL: &str = include_str!("data/full.json");
const DEMO: &str = include_str!("data/demo.json");
/// Names under which Chromium is installed.
const BROWSERS: [&str; 5] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "headless_shell"];
/// A browser that takes longer hangs: it takes two to six seconds, on a busy machine some twenty.
const PATIENCE: Duration = Duration::from_secs(90);
/// Pixels of a tablet and of a desktop; that of a phone is a frame inside, as a window has a least width above it.
const WIDTHS: [u32; 2] = [800, 1400];
/// Pixels of a phone, less the frame's scroll bar where there is one.
const PHONE: std::ops::RangeInclusive<u32> = 370..=390;

fn browser() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let found = env::split_paths(&path)
        .find_map(|folder| BROWSERS.iter().map(|name| folder.join(name)).find(|file| file.is_file()));
    assert!(
        found.is_some() || env::var("TENUIS_BROWSER").as_deref() != Ok("required"),
        "no Chromium on PATH, and TENUIS_BROWSER is `required`: install chromium"
    );
    found
}

/// What the browser makes of a page in a window of a given width.
fn dom(browser: &PathBuf, page: &str, width: u32) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("report.html");
    fs::write(&file, page).expect("a page");
    let out = folder.path().join("dom.html");
    let mut child = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-extensions", "--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("--window-size={width},2000"))
        .arg(format!("file://{}#selfcheck", file.display()))
        .stdin(Stdio::null())
        .stdout(File::create(&out).expect("a file"))
        .stderr(Stdio::null())
        .spawn()
        .expect("a browser that starts");
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a status") {
            break status;
        }
        if started.elapsed() > PATIENCE {
            child.kill().expect("an end");
            child.wait().expect("a status");
            panic!("{} did not end within {PATIENCE:?}", browser.display());
        }
        thread::sleep(Duration::from_millis(50));
    };
    assert!(status.success(), "{}: {status}", browser.display());
    fs::read_to_string(out).expect("what it saw")
}

/// An attribute of the root element that the page's self-check wrote.
fn checked<'a>(dom: &'a str, name: &str) -> &'a str {
    let root = &dom[dom.find("<html").expect("a page")..];
    let root = &root[..root.find('>').expect("an element")];
    let start = root.find(&format!("data-{name}=\"")).unwrap_or_else(|| panic!("no {name} in {root}"));
    let value = &root[start + name.len() + 7..];
    &value[..value.find('"').expect("an end")]
}

#[test]
fn the_page_sorts_and_fits_in_a_browser() {
    let Some(browser) = browser() else {
        eprintln!("skipped: no Chromium on PATH");
        return;
    };
    for (name, report) in [("full", FULL), ("demo", DEMO)] {
        let page = render_str(report).expect("a page");
        for width in WIDTHS {
            let dom = dom(&browser, &page, width);
            assert_eq!(checked(&dom, "sorted"), "true", "{name} at {width}");
            assert_eq!(checked(&dom, "requests"), "0", "{name} at {width}");
            assert_eq!(checked(&dom, "errors"), "0", "{name} at {width}");
            let pixels = |name: &str| checked(&dom, name).parse::<u32>().expect("pixels");
            assert!(PHONE.contains(&pixels("phone-width")), "{}", checked(&dom, "phone-width"));
            let (phone, desktop) = (pixels("phone-overflow"), pixels("overflow"));
            assert_eq!((phone, desktop), (0, 0), "{name} at {width}: {}", checked(&dom, "widest"));
        }
    }
}
