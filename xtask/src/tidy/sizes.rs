//! Keeps files short enough to be read in one sitting.

use super::Problem;
use super::source::{Line, Source};
use cargo_metadata::camino::Utf8Path;

/// Lines of code that a file may have; blank lines, documentation and tests do not count.
const LIMIT: usize = 600;

/// What a comment must begin with that justifies a longer file; the reason follows it.
const REASON: &str = "tidy: long because ";

/// Finds a file above the limit that does not say why.
pub(crate) fn check(path: &Utf8Path, source: &Source) -> Option<Problem> {
    let counts = |line: &&Line| {
        let code = !line.code.trim().is_empty();
        let plain_comment = !line.doc && !line.comment.trim().is_empty();
        !line.test && (code || plain_comment)
    };
    let count = source.lines.iter().filter(counts).count();
    let reasoned = source.lines.iter().any(|line| {
        let reason = line.comment.trim().strip_prefix(REASON);
        !line.doc && reason.is_some_and(|reason| reason.split_whitespace().count() >= 3)
    });
    (count > LIMIT && !reasoned).then(|| Problem {
        file: path.to_string(),
        line: 1,
        rule: "size",
        message: format!("{count} lines of code, the limit is {LIMIT}"),
        mend: "split it by subject, or add a comment `tidy: long because` with the reason",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<String> {
        let path = Utf8Path::new("crates/a/src/lib.rs");
        check(path, &Source::scan(path, text)).map(|problem| problem.message)
    }

    #[test]
    fn only_code_and_plain_comments_count() {
        let long = "let a = 1;\n".repeat(LIMIT);
        assert_eq!(found(&long), None);
        assert_eq!(
            found(&format!("{long}// one more\n")),
            Some("601 lines of code, the limit is 600".into())
        );
        assert_eq!(found(&format!("{long}\n\n/// documentation\n//! too\n")), None);
        assert_eq!(found(&format!("{long}#[cfg(test)]\nmod tests {{\n{long}}}\n")), None);
    }

    #[test]
    fn a_written_reason_lifts_the_limit() {
        let long = "let a = 1;\n".repeat(LIMIT + 1);
        assert_eq!(found(&format!("// tidy: long because one table of the format\n{long}")), None);
        assert!(found(&format!("// tidy: long because\n{long}")).is_some(), "a reason has words");
    }
}
