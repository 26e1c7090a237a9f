//! Ratings by people: blinded pairs out, ratings back in, their means and how far raters agree.

mod agreement;
mod error;
mod summary;

pub use agreement::{KappaWeights, Level, krippendorff_alpha, weighted_kappa};
pub use error::RatingError;
pub use summary::{Agreement, CriterionRating, RatingDifference, RatingSummary, SystemRatings};

use crate::predictions::{FileError, Table};
use crate::random::Draw;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// What is rated, each from 1 (bad) to 5 (good).
pub const CRITERIA: [&str; 4] = ["accuracy", "fluency", "relevance", "consistency"];

/// The outputs of two systems for one prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputPair {
    /// The item's name.
    pub item: String,
    /// What both were given.
    pub prompt: String,
    /// What the first and the second system wrote.
    pub outputs: [String; 2],
}

/// Writes a sheet for a rater, and the key that tells which output is whose.
///
/// The sheet is CSV with the columns `pair`, `side`, `prompt`, `output` and [`CRITERIA`], which are to be filled in. Pairs come
/// in an order, and outputs on a side, that the seed decides; nothing else in the sheet tells systems apart. Raters whose seeds
/// differ see different orders. The key (`pair`, `side`, `item`, `system`) stays with whoever evaluates.
///
/// # Errors
/// [`RatingError::NoPairs`], [`RatingError::ItemTwice`], [`RatingError::SameSystem`], [`RatingError::File`].
pub fn write_rating_sheet(
    sheet: &Path,
    key: &Path,
    systems: [&str; 2],
    pairs: &[OutputPair],
    seed: u64,
) -> Result<(), RatingError> {
    if pairs.is_empty() {
        return Err(RatingError::NoPairs);
    }
    if systems[0] == systems[1] {
        return Err(RatingError::SameSystem { system: systems[0].to_owned() });
    }
    let mut items = BTreeSet::new();
    if let Some(twice) = pairs.iter().find(|pair| !items.insert(&pair.item)) {
        return Err(RatingError::ItemTwice { item: twice.item.clone() });
    }
    let mut draw = Draw::new(seed);
    let mut order: Vec<&OutputPair> = pairs.iter().collect();
    draw.shuffle(&mut order);
    let mut sheet_rows = vec![["pair", "side", "prompt", "output"].map(str::to_owned).to_vec()];
    sheet_rows[0].extend(CRITERIA.map(str::to_owned));
    let mut key_rows = vec![["pair", "side", "item", "system"].map(str::to_owned).to_vec()];
    for (number, pair) in (1..).zip(order) {
        let first = draw.below(2);
        for (side, system) in [("1", first), ("2", 1 - first)] {
            let number = number.to_string();
            let mut row =
                vec![number.clone(), side.to_owned(), pair.prompt.clone(), pair.outputs[system].clone()];
            row.resize(row.len() + CRITERIA.len(), String::new());
            sheet_rows.push(row);
            key_rows.push(vec![number, side.to_owned(), pair.item.clone(), systems[system].to_owned()]);
        }
    }
    write(sheet, &sheet_rows)?;
    write(key, &key_rows)
}

fn write(path: &Path, rows: &[Vec<String>]) -> Result<(), RatingError> {
    let refused = |source| FileError::Io { path: path.to_owned(), source };
    let mut writer = csv::Writer::from_path(path).map_err(|e| refused(e.into()))?;
    for row in rows {
        writer.write_record(row).map_err(|e| refused(e.into()))?;
    }
    writer.flush().map_err(refused)?;
    Ok(())
}

/// One rater's number for one output and criterion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rating {
    /// Who rated.
    pub rater: String,
    /// The item.
    pub item: String,
    /// Whose output.
    pub system: String,
    /// Index into [`CRITERIA`].
    pub criterion: usize,
    /// 1 to 5.
    pub value: u8,
}

/// The ratings of any number of raters.
///
/// ```
/// use tenuis_metrics::{BootstrapConfig, OutputPair, Ratings, write_rating_sheet};
/// let dir = std::env::temp_dir().join(format!("tenuis-ratings-doc-{}", std::process::id()));
/// std::fs::create_dir_all(&dir)?;
/// let (sheet, key) = (dir.join("sheet.csv"), dir.join("key.csv"));
/// let pair = |item: &str| OutputPair {
///     item: item.into(),
///     prompt: "Say hello.".into(),
///     outputs: ["Hello!".into(), "Goodbye.".into()],
/// };
/// write_rating_sheet(&sheet, &key, ["dense", "int4"], &[pair("a"), pair("b")], 7)?;
/// // A rater likes one of them better.
/// let filled = std::fs::read_to_string(&sheet)?.replace("Hello!,,,,", "Hello!,5,5,4,");
/// std::fs::write(&sheet, filled.replace("Goodbye.,,,,", "Goodbye.,1,5,2,"))?;
///
/// let mut ratings = Ratings::default();
/// ratings.read("Ada", &sheet, &key)?;
/// let summary = ratings.summary(&BootstrapConfig::default())?;
/// assert_eq!(summary.systems[0].criteria[0].mean.mean, 5.0);
/// assert_eq!(summary.differences[0].difference.value, -4.0);
/// assert_eq!(summary.missing, 4);
/// # std::fs::remove_dir_all(dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Ratings {
    ratings: Vec<Rating>,
    missing: usize,
}

impl Ratings {
    /// Reads a sheet that a rater filled in, and its key. Cells that were left empty are missing ratings.
    ///
    /// # Errors
    /// [`RatingError`], which names the file, the line and the column; then nothing was added.
    pub fn read(&mut self, rater: &str, sheet: &Path, key: &Path) -> Result<(), RatingError> {
        let owners = read_key(key)?;
        let table = Table::read(sheet)?;
        let [pair_at, side_at] = ["pair", "side"].map(|name| table.column(sheet, name));
        let (pair_at, side_at) = (pair_at?, side_at?);
        let mut columns = Vec::new();
        for criterion in CRITERIA {
            columns.push(table.column(sheet, criterion)?);
        }
        let mut seen: BTreeSet<(&str, &str)> =
            self.ratings.iter().filter(|r| r.rater == rater).map(|r| (&*r.item, &*r.system)).collect();
        let (mut added, mut missing) = (Vec::new(), 0);
        for (line, record) in &table.records {
            let (pair, side) = (record[pair_at].trim().to_owned(), record[side_at].trim().to_owned());
            let place = (pair.clone(), side.clone());
            let (path, line) = (sheet.to_owned(), *line);
            let Some((item, system)) = owners.get(&place) else {
                return Err(RatingError::NotInKey { path, line, pair, side, key: key.to_owned() });
            };
            if !seen.insert((item, system)) {
                return Err(RatingError::Twice { path, line, pair, side });
            }
            for (criterion, &column) in columns.iter().enumerate() {
                let value = match record[column].trim() {
                    "" => {
                        missing += 1;
                        continue;
                    }
                    text => text.parse().ok().filter(|value| (1..=5).contains(value)),
                };
                let value = value.ok_or_else(|| RatingError::Value {
                    path: path.clone(),
                    line,
                    column: CRITERIA[criterion],
                    value: record[column].clone(),
                })?;
                let (rater, item, system) = (rater.to_owned(), item.clone(), system.clone());
                added.push(Rating { rater, item, system, criterion, value });
            }
        }
        self.ratings.extend(added);
        self.missing += missing;
        Ok(())
    }

    /// All ratings that were read.
    pub fn all(&self) -> &[Rating] {
        &self.ratings
    }

    /// Ratings by item, system and rater, of one criterion.
    fn of(&self, criterion: usize) -> BTreeMap<(&str, &str), BTreeMap<&str, u8>> {
        let mut table: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for r in self.ratings.iter().filter(|r| r.criterion == criterion) {
            table.entry((&*r.item, &*r.system)).or_default().insert(&*r.rater, r.value);
        }
        table
    }
}

type Owners = HashMap<(String, String), (String, String)>;

fn read_key(path: &Path) -> Result<Owners, RatingError> {
    let table = Table::read(path)?;
    let mut columns = Vec::new();
    for name in ["pair", "side", "item", "system"] {
        columns.push(table.column(path, name)?);
    }
    let mut owners = HashMap::new();
    for (line, record) in &table.records {
        let cell = |at: usize| record[columns[at]].clone();
        let (pair, side) = (cell(0).trim().to_owned(), cell(1).trim().to_owned());
        if owners.insert((pair.clone(), side.clone()), (cell(2), cell(3))).is_some() {
            return Err(RatingError::Twice { path: path.to_owned(), line: *line, pair, side });
        }
    }
    Ok(owners)
}
