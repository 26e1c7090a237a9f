//! Filling in what a recipe takes from the one that it extends.

use crate::origin::escaped;
use crate::source::Source;
use crate::{Origin, RecipeError, builtin, keys};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Says what is the recipe's own and never inherited: a name names one candidate, and a description tells what that is.
const OWN: [&str; 4] = ["name", "description", "extends", "changes"];

/// Reads a recipe with all that it inherits; `dir` is what paths in it are relative to.
///
/// # Errors
/// [`RecipeError`] at the key that is wrong, in the file that has it.
pub(crate) fn read(file: &str, text: &str, dir: &Path) -> Result<Source, RecipeError> {
    follow(file, text, dir, &mut Vec::new())
}

/// `children` are the recipes that led here: how each is told from others, and its name in messages.
fn follow(
    file: &str,
    text: &str,
    dir: &Path,
    children: &mut Vec<(PathBuf, String)>,
) -> Result<Source, RecipeError> {
    let mut child = Source::parse(file, text)?;
    keys::check(&child.values, &child.origin)?;
    let extends = child.values.remove("extends");
    let changes = child.values.remove("changes");
    let Some(extends) = extends else {
        return match changes {
            None => Ok(child),
            Some(_) => Err(child.origin.error(
                "/changes",
                "changes the stages of another recipe, but this one has no `extends`; change the stage itself",
            )),
        };
    };
    let Value::String(parent) = extends else {
        return Err(child.origin.error("/extends", "must be the name of a built-in recipe or a file"));
    };
    if changes.is_some() && child.values.contains_key("stages") {
        return Err(child.origin.error(
            "/changes",
            "changes inherited stages, but this recipe has [[stages]] of its own, which replace them; change those",
        ));
    }
    children.push((identity(Path::new(file)), file.to_owned()));
    let parent = ancestor(&child.origin, &parent, dir, children)?;
    children.pop();
    inherit(&mut child, parent);
    if let Some(changes) = changes {
        change(&mut child, changes)?;
    }
    Ok(child)
}

fn identity(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The recipe that one extends, complete, its paths relative to the directory of the one that asks.
fn ancestor(
    asking: &Origin,
    name: &str,
    dir: &Path,
    children: &mut Vec<(PathBuf, String)>,
) -> Result<Source, RecipeError> {
    if let Some((file, text)) = builtin::text(name) {
        return follow(&file, text, Path::new(""), children);
    }
    let path = dir.join(name);
    let file = path.display().to_string();
    let itself = identity(&path);
    if let Some(first) = children.iter().position(|(known, _)| *known == itself) {
        let mut chain: Vec<&str> = children[first..].iter().map(|(_, file)| file.as_str()).collect();
        chain.push(&file);
        let problem = format!("a recipe cannot extend itself: {}", chain.join(" extends "));
        return Err(asking.error("/extends", problem));
    }
    let text = std::fs::read_to_string(&path).map_err(|e| {
        let problem = format!("{file} cannot be read: {e}; built-in recipes are {}", builtin::names());
        asking.error("/extends", problem)
    })?;
    let mut parent = follow(&file, &text, path.parent().unwrap_or(Path::new("")), children)?;
    if let Some(below) = Path::new(name).parent() {
        rebase(&mut parent.values, below);
    }
    Ok(parent)
}

/// Makes the paths of a recipe relative to the directory that its own is seen from as `below`.
fn rebase(values: &mut Map<String, Value>, below: &Path) {
    for stage in values.get_mut("stages").and_then(Value::as_array_mut).into_iter().flatten() {
        for pointer in ["/teacher", "/data/train", "/data/valid"] {
            if let Some(Value::String(path)) = stage.pointer_mut(pointer)
                && !path.starts_with('$')
            {
                *path = below.join(&*path).display().to_string();
            }
        }
    }
}

/// Fills in what the child lacks.
fn inherit(child: &mut Source, parent: Source) {
    let Source { values, origin } = parent;
    for (key, inherited) in values {
        let at = format!("/{}", escaped(&key));
        if OWN.contains(&key.as_str()) {
            continue;
        }
        match (key.as_str(), child.values.get_mut(&key), inherited) {
            (_, None, inherited) => {
                child.origin.take(&origin, &at, &at);
                child.values.insert(key, inherited);
            }
            ("calibration", Some(Value::Object(own)), Value::Object(inherited)) => {
                for (key, value) in inherited {
                    if !own.contains_key(&key) {
                        let at = format!("{at}/{}", escaped(&key));
                        child.origin.take(&origin, &at, &at);
                        own.insert(key, value);
                    }
                }
            }
            ("gates", Some(Value::Array(own)), Value::Array(mut inherited)) => {
                let before = child.origin.clone();
                let first = inherited.len();
                for index in 0..own.len() {
                    let (from, to) = (format!("{at}/{index}"), format!("{at}/{}", first + index));
                    child.origin.take(&before, &from, &to);
                }
                for index in 0..first {
                    let at = format!("{at}/{index}");
                    child.origin.take(&origin, &at, &at);
                }
                inherited.append(own);
                *own = inherited;
            }
            _ => {}
        }
    }
}

/// Applies the `changes` of a recipe to the stages that it has inherited.
fn change(child: &mut Source, changes: Value) -> Result<(), RecipeError> {
    let written = child.origin.clone();
    child.origin.forget("/changes");
    let Value::Object(changes) = changes else {
        return Err(written.error("/changes", "must hold a table for each stage that is changed"));
    };
    let mut none = Vec::new();
    let stages = child.values.get_mut("stages").and_then(Value::as_array_mut).unwrap_or(&mut none);
    let labels: Vec<String> = stages.iter().map(label).collect();
    for (name, change) in changes {
        let at = format!("/changes/{}", escaped(&name));
        let Value::Object(mut change) = change else {
            return Err(written.error(&at, "must be a table with the keys of the stage that change"));
        };
        let matching: Vec<usize> = (0..labels.len()).filter(|&index| labels[index] == name).collect();
        let &[index] = matching.as_slice() else {
            let problem = if matching.is_empty() {
                let meant = keys::nearest(&name, labels.iter().map(String::as_str))
                    .map(|near| format!(" (did you mean `{near}`?)"))
                    .unwrap_or_default();
                format!("no inherited stage goes by {name:?}{meant}; there are {}", labels.join(", "))
            } else {
                let count = matching.len();
                format!(
                    "{count} inherited stages go by {name:?}; give them a `name` of their own where they are written"
                )
            };
            return Err(written.error(&at, problem));
        };
        let (Some(stage), to) = (stages[index].as_object_mut(), format!("/stages/{index}")) else { continue };
        let technique = |stage: &Map<String, Value>| stage.get("technique").cloned();
        if change.contains_key("technique") && technique(&change) != technique(stage) {
            // The options of one technique mean nothing to another.
            stage.remove("options");
            child.origin.forget(&format!("{to}/options"));
        }
        overlay(stage, &mut change, &written, &mut child.origin, &at, &to);
    }
    Ok(())
}

fn label(stage: &Value) -> String {
    let text = |key: &str| stage.get(key).and_then(Value::as_str);
    text("name").or_else(|| text("technique")).unwrap_or_default().to_owned()
}

/// Puts values over others: tables are merged, everything else is replaced.
fn overlay(
    below: &mut Map<String, Value>,
    above: &mut Map<String, Value>,
    written: &Origin,
    origin: &mut Origin,
    from: &str,
    to: &str,
) {
    for (key, value) in std::mem::take(above) {
        let (from, to) = (format!("{from}/{}", escaped(&key)), format!("{to}/{}", escaped(&key)));
        match (below.get_mut(&key), value) {
            (Some(Value::Object(below)), Value::Object(mut above)) => {
                overlay(below, &mut above, written, origin, &from, &to);
            }
            (_, value) => {
                origin.forget(&to);
                origin.take(written, &from, &to);
                below.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
