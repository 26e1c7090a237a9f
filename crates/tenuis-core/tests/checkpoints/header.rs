//! Malformed safetensors files are refused, by name, in bounded time and memory.

use crate::support::{bytes_file, file};
use proptest::prelude::*;
use std::fmt::Write;
use std::time::{Duration, Instant};
use tenuis_core::checkpoint::{HeaderError, MAX_HEADER_BYTES, MAX_RANK, parse_header};
use tenuis_core::{DType, StoredType};

fn entry(dtype: &str, shape: &str, begin: u64, end: u64) -> String {
    format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
}

fn refused(header: &str, data: &[u8]) -> HeaderError {
    parse_header(&file(header, data)).expect_err(header)
}

fn malformed(header: &str, data: &[u8], fragment: &str) {
    match refused(header, data) {
        HeaderError::Malformed { problem } => assert!(problem.contains(fragment), "{header}: {problem}"),
        other => panic!("{header}: {other}"),
    }
}

/// The claimed length is checked before anything is allocated for it.
#[test]
fn header_longer_than_the_file_or_the_limit() {
    assert_eq!(parse_header(&[0; 7]), Err(HeaderError::TooShort { length: 7 }));
    let mut bytes = u64::MAX.to_le_bytes().to_vec();
    bytes.extend(b"{}");
    assert_eq!(parse_header(&bytes), Err(HeaderError::TooLong { claimed: u64::MAX }));
    bytes[..8].copy_from_slice(&(MAX_HEADER_BYTES + 1).to_le_bytes());
    assert_eq!(parse_header(&bytes), Err(HeaderError::TooLong { claimed: MAX_HEADER_BYTES + 1 }));
    bytes[..8].copy_from_slice(&MAX_HEADER_BYTES.to_le_bytes());
    assert_eq!(
        parse_header(&bytes),
        Err(HeaderError::BeyondFile { claimed: MAX_HEADER_BYTES, available: 2 })
    );
    bytes[..8].copy_from_slice(&0u64.to_le_bytes());
    assert!(matches!(parse_header(&bytes), Err(HeaderError::Malformed { .. })));
}

/// A million entries are read within seconds, even without optimisation, and a single shape cannot grow without bound.
#[test]
fn a_million_entries_are_bounded() {
    let mut header = String::from("{");
    for i in 0..1_000_000 {
        write!(header, r#""{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}},"#).unwrap();
    }
    header.pop();
    header.push('}');
    let start = Instant::now();
    assert_eq!(parse_header(&file(&header, &[])).unwrap().entries.len(), 1_000_000);
    assert!(start.elapsed() < Duration::from_mins(1), "took {:?}", start.elapsed());

    let ones = |n: usize| format!("[{}]", vec!["1"; n].join(","));
    let header = format!(r#"{{"a":{}}}"#, entry("U8", &ones(MAX_RANK), 0, 1));
    assert_eq!(parse_header(&file(&header, &[0])).unwrap().entries[0].shape.len(), MAX_RANK);
    malformed(&format!(r#"{{"a":{}}}"#, entry("U8", &ones(10_000_000), 0, 1)), &[0], "at most 32 dimensions");
}

#[test]
fn shapes_that_overflow() {
    let header = format!(r#"{{"a":{}}}"#, entry("U8", "[4294967296,4294967296,2]", 0, 0));
    assert!(matches!(refused(&header, &[]), HeaderError::Overflow { tensor, .. } if tensor == "a"));
    // The element count fits, the byte count does not.
    let header = format!(r#"{{"a":{}}}"#, entry("F64", "[4611686018427387904]", 0, 0));
    assert!(matches!(refused(&header, &[]), HeaderError::Overflow { .. }));
    // A type that is only copied must not overflow either.
    let header = format!(r#"{{"a":{}}}"#, entry("X99", "[4294967296,4294967296,2]", 0, 0));
    assert!(matches!(refused(&header, &[]), HeaderError::Overflow { .. }));
    malformed(&format!(r#"{{"a":{}}}"#, entry("U8", "[18446744073709551616]", 0, 0)), &[], "invalid type");
    malformed(&format!(r#"{{"a":{}}}"#, entry("U8", "[-1]", 0, 0)), &[], "invalid value");
    malformed(&format!(r#"{{"a":{}}}"#, entry("U8", "[1.0]", 0, 1)), &[0], "invalid type");
}

#[test]
fn offsets_that_do_not_tile_the_data() {
    let two = |a: (u64, u64), b: (u64, u64)| {
        let (an, bn) = (a.1.saturating_sub(a.0), b.1.saturating_sub(b.0));
        let (a, b) = (entry("U8", &format!("[{an}]"), a.0, a.1), entry("U8", &format!("[{bn}]"), b.0, b.1));
        format!(r#"{{"a":{a},"b":{b}}}"#)
    };
    assert!(parse_header(&file(&two((2, 4), (0, 2)), &[0; 4])).is_ok());
    assert!(parse_header(&file(&two((0, 4), (4, 4)), &[0; 4])).is_ok());
    let overlap = refused(&two((0, 3), (2, 4)), &[0; 4]);
    assert_eq!(overlap, HeaderError::Overlap { tensor: "b".to_owned(), begin: 2, other: "a".to_owned() });
    assert!(matches!(refused(&two((0, 4), (0, 4)), &[0; 4]), HeaderError::Overlap { .. }));
    assert_eq!(
        refused(&two((0, 1), (2, 4)), &[0; 4]),
        HeaderError::Hole { tensor: "b".to_owned(), begin: 2, end: 1 }
    );
    assert_eq!(
        refused(&two((1, 2), (2, 4)), &[0; 4]),
        HeaderError::Hole { tensor: "a".to_owned(), begin: 1, end: 0 }
    );
    assert_eq!(refused(&two((0, 2), (2, 4)), &[0; 5]), HeaderError::Trailing { bytes: 1 });
    assert_eq!(refused("{}", &[0; 3]), HeaderError::Trailing { bytes: 3 });
    assert_eq!(
        refused(&two((0, 2), (2, 4)), &[0; 3]),
        HeaderError::Truncated { tensor: "b".to_owned(), end: 4, available: 3 }
    );
    assert!(matches!(
        refused(&two((4, 0), (0, 4)), &[0; 4]),
        HeaderError::Backwards { .. } | HeaderError::Overlap { .. }
    ));
    let header = format!(r#"{{"a":{}}}"#, entry("U8", "[0]", u64::MAX, 0));
    assert!(matches!(refused(&header, &[]), HeaderError::Backwards { .. }));
    let header = format!(r#"{{"a":{}}}"#, entry("F32", "[2]", 0, 7));
    assert!(matches!(refused(&header, &[0; 7]), HeaderError::Length { expected: 8, found: 7, .. }));
}

/// What the reference implementation lets pass, with the last of two winning.
#[test]
fn names_and_keys_that_occur_twice() {
    let (one, two) = (entry("U8", "[1]", 0, 1), entry("U8", "[1]", 1, 2));
    let twice = format!(r#"{{"a":{one},"a":{two}}}"#);
    assert_eq!(refused(&twice, &[0; 2]), HeaderError::Duplicate { tensor: "a".to_owned() });
    // The same name by an escape.
    let escaped = format!(r#"{{"a":{one},"\u0061":{two}}}"#);
    assert_eq!(refused(&escaped, &[0; 2]), HeaderError::Duplicate { tensor: "a".to_owned() });
    malformed(&format!(r#"{{"__metadata__":{{}},"a":{one},"__metadata__":{{}}}}"#), &[0], "__metadata__");
    malformed(r#"{"__metadata__":{"k":"1","k":"2"}}"#, &[], "\"k\" occurs twice");
    malformed(
        r#"{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}"#,
        &[0],
        "\"dtype\" occurs twice",
    );
}

#[test]
fn whatever_the_format_does_not_allow() {
    let good = entry("U8", "[1]", 0, 1);
    let header = format!(r#" {{"a":{good}}}"#);
    assert_eq!(refused(&header, &[0]), HeaderError::Start { found: b' ' });
    assert_eq!(refused("\u{feff}{}", &[]), HeaderError::Start { found: 0xef });
    malformed(r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}}"#, &[0], "unknown field `x`");
    malformed(r#"{"a":{"dtype":"U8","shape":[1]}}"#, &[0], "data_offsets");
    malformed(r#"{"a":{"shape":[1],"data_offsets":[0,1]}}"#, &[0], "dtype");
    malformed(r#"{"a":{"dtype":"U8","data_offsets":[0,1]}}"#, &[0], "shape");
    malformed(r#"{"a":["U8",[1],[0,1]]}"#, &[0], "tensor \"a\"");
    malformed(r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}}"#, &[0], "tensor \"a\"");
    malformed(r#"{"__metadata__":{"k":1}}"#, &[], "invalid type");
    malformed(&format!(r#"{{"a":{good}}}{{}}"#), &[0], "trailing characters");
    malformed(&format!(r#"{{"a":{good}"#), &[0], "EOF");
    assert_eq!(refused("[]", &[]), HeaderError::Start { found: b'[' });
    let mut not_utf8 = file(&format!(r#"{{"?":{good}}}"#), &[0]);
    not_utf8[10] = 0xff;
    assert!(matches!(parse_header(&not_utf8), Err(HeaderError::Malformed { .. })));
}

#[test]
fn padding_and_metadata_are_accepted() {
    let header = format!(r#"{{"__metadata__":{{"format":"pt"}},"a":{}}}   "#, entry("U8", "[1]", 0, 1));
    let parsed = parse_header(&file(&header, &[7])).unwrap();
    assert_eq!(parsed.metadata["format"], "pt");
    assert_eq!(
        (parsed.bytes, parsed.entries[0].range.clone()),
        (8 + header.len(), 8 + header.len()..9 + header.len())
    );
}

/// Types that Tenuis does not know keep their name and bytes; their size is still checked where the format fixes it.
#[test]
fn unknown_types_are_carried() {
    let header = format!(r#"{{"a":{},"b":{}}}"#, entry("U32", "[1]", 0, 4), entry("X7", "[9]", 4, 5));
    let parsed = parse_header(&file(&header, &[0; 5])).unwrap();
    assert_eq!(parsed.entries[0].dtype, StoredType::Unknown("U32".into()));
    assert_eq!(parsed.entries[1].dtype, StoredType::Unknown("X7".into()));
    let header = format!(r#"{{"a":{}}}"#, entry("U32", "[1]", 0, 5));
    assert!(matches!(refused(&header, &[0; 5]), HeaderError::Length { expected: 4, .. }));
}

/// Every error is one line that begins in lower case or with a number and ends with what to do.
#[test]
fn messages_are_one_line() {
    let errors = [
        parse_header(&[0; 3]).unwrap_err(),
        refused(" {}", &[]),
        refused("{}", &[0]),
        refused("{\"a\n\":1}", &[]),
        refused(&format!(r#"{{"a\nb":{}}}"#, entry("U8", "[2]", 0, 1)), &[0]),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(!text.contains('\n') && text.contains("write") | text.contains("download"), "{text}");
        assert!(!text.starts_with(char::is_uppercase), "{text}");
    }
}

proptest! {
    /// No input makes the parser panic, and whatever it accepts lies within the file.
    #[test]
    fn arbitrary_bytes_never_panic(prefix in 0u64..64, body in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut bytes = prefix.to_le_bytes().to_vec();
        bytes.extend(body);
        if let Ok(header) = parse_header(&bytes) {
            prop_assert!(header.entries.iter().all(|e| e.range.end <= bytes.len()));
        }
    }

    /// One changed byte of a valid file is refused or leaves a file that tiles its data; it never panics.
    #[test]
    fn changed_bytes_never_panic(position in 0usize..200, value: u8) {
        let mut bytes = bytes_file(&[("a", &[1, 2, 3]), ("b.weight", &[]), ("c", &[4; 20])]);
        let position = position % bytes.len();
        bytes[position] = value;
        if let Ok(header) = parse_header(&bytes) {
            let total: usize = header.entries.iter().map(|e| e.range.len()).sum();
            prop_assert_eq!(header.bytes + total, bytes.len());
        }
    }

    /// What the independent writer writes is read as it was meant.
    #[test]
    fn agrees_with_the_reference_writer(
        tensors in prop::collection::btree_map("[a-z./_]{1,12}", (0usize..5, 0usize..5, prop::sample::select(&DType::ALL[..])), 0..8)
    ) {
        let data = [0xa5u8; 5 * 5 * 8];
        let views: Vec<_> = tensors.iter().map(|(name, &(rows, columns, dtype))| {
            let reference: safetensors::Dtype =
                serde_json::from_str(&format!("{:?}", dtype.safetensors_name())).unwrap();
            let bytes = &data[..rows * columns * dtype.size()];
            (name.clone(), safetensors::tensor::TensorView::new(reference, vec![rows, columns], bytes).unwrap())
        }).collect();
        let bytes = safetensors::serialize(views, None).unwrap();
        let header = parse_header(&bytes).unwrap();
        prop_assert_eq!(header.entries.len(), tensors.len());
        for found in header.entries {
            let (rows, columns, dtype) = tensors[&found.name];
            prop_assert_eq!(found.shape, vec![rows, columns]);
            prop_assert_eq!(found.dtype, StoredType::Known(dtype));
        }
    }
}
