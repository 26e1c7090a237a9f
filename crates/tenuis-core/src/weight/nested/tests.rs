use crate::weight::{
    CodecRegistry, Components, Dense, GroupSize, GroupedInt, GroupedIntSpec, LowRank, Representation, Sum,
    Weight, WeightError,
};
use crate::{Bits, DType, Tensor};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

/// Sums of a few dozen products of numbers below 2 in f32.
const TOLERANCE: f32 = 1e-4;

struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 >> 8
    }

    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next() as f32 / (1 << 23) as f32 - 1.0).collect()
    }
}

/// What a part may be.
#[derive(Clone, Copy, Debug)]
enum Part {
    Dense(DType),
    Grouped(u8),
}

fn parts() -> impl Strategy<Value = Part> {
    prop_oneof![
        prop::sample::select(&[DType::F32, DType::F16, DType::BF16][..]).prop_map(Part::Dense),
        prop::sample::select(&[3u8, 4, 8][..]).prop_map(Part::Grouped),
    ]
}

fn part(part: Part, shape: [usize; 2], random: &mut Random) -> Weight {
    let values = random.floats(shape[0] * shape[1]);
    match part {
        Part::Dense(dtype) => {
            Arc::new(Dense::new(Tensor::from_f32(dtype, shape.to_vec(), &values).unwrap()).unwrap())
        }
        Part::Grouped(width) => {
            let spec = GroupedIntSpec {
                bits: Bits::new(width).unwrap(),
                group_size: GroupSize::Channel,
                symmetric: true,
                scale_dtype: DType::F16,
                group_index: false,
            };
            let codes: Vec<u8> =
                values.iter().map(|v| (v.abs() * 7.0) as u8 & spec.bits.max_code()).collect();
            Arc::new(GroupedInt::from_codes(spec, shape, &codes, &vec![0.125; shape[0]], None, None).unwrap())
        }
    }
}

fn components(weight: &dyn Representation) -> Components {
    weight.components().into_iter().map(|c| (c.suffix.into_owned(), c.tensor)).collect()
}

fn check_round_trip(weight: &dyn Representation, expected: &[f32]) {
    let held: usize = weight.components().iter().map(|c| c.tensor.data().len()).sum();
    assert_eq!(held as u64, weight.stored_bytes());
    let dense = weight.to_dense().unwrap();
    for (found, expected) in dense.iter().zip(expected) {
        assert!((found - expected).abs() <= TOLERANCE, "{found} instead of {expected}");
    }
    let codecs = CodecRegistry::builtin();
    let again = codecs.decode(weight.shape(), &weight.descriptor(), components(weight)).unwrap();
    assert_eq!(again.descriptor(), weight.descriptor());
    assert_eq!(again.to_dense().unwrap(), dense);
    let rows = weight.shape()[0];
    let mut last = vec![0.0; weight.shape()[1]];
    weight.decode_rows(rows - 1..rows, &mut last).unwrap();
    assert_eq!(last, dense[dense.len() - last.len()..]);
}

fn product(b: &Weight, a: &Weight) -> Vec<f32> {
    let ([outs, rank], [_, ins]) = (b.shape(), a.shape());
    let (b, a) = (b.to_dense().unwrap(), a.to_dense().unwrap());
    let at = |o: usize, i: usize| {
        (0..rank).map(|k| f64::from(b[o * rank + k]) * f64::from(a[k * ins + i])).sum::<f64>()
    };
    (0..outs * ins).map(|index| at(index / ins, index % ins) as f32).collect()
}

proptest! {
    /// A product decodes to what its factors multiply to, counts its bytes, and is read back from them.
    #[test]
    fn products_round_trip(
        of_b in parts(), of_a in parts(), outs in 1usize..30, rank in 1usize..20, ins in 1usize..40, seed: u32,
    ) {
        let mut random = Random(seed);
        let (b, a) = (part(of_b, [outs, rank], &mut random), part(of_a, [rank, ins], &mut random));
        let expected = product(&b, &a);
        check_round_trip(&LowRank::new(b, a).unwrap(), &expected);
    }

    /// So does a sum, of products too.
    #[test]
    fn sums_round_trip(
        base in parts(), of_b in parts(), of_a in parts(), others in prop::collection::vec(parts(), 0..3),
        outs in 1usize..30, rank in 1usize..8, ins in 1usize..40, seed: u32,
    ) {
        let mut random = Random(seed);
        let (b, a) = (part(of_b, [outs, rank], &mut random), part(of_a, [rank, ins], &mut random));
        let mut terms = vec![part(base, [outs, ins], &mut random), Arc::new(LowRank::new(b, a).unwrap())];
        terms.extend(others.into_iter().map(|p| part(p, [outs, ins], &mut random)));
        let mut expected = vec![0.0; outs * ins];
        for term in &terms {
            expected.iter_mut().zip(term.to_dense().unwrap()).for_each(|(sum, v)| *sum += v);
        }
        check_round_trip(&Sum::new(terms).unwrap(), &expected);
    }
}

fn dense(shape: [usize; 2]) -> Weight {
    part(Part::Dense(DType::F32), shape, &mut Random(1))
}

#[test]
fn factors_that_do_not_fit_are_refused() {
    for (b, a) in [([4, 2], [3, 5]), ([4, 0], [0, 5])] {
        let error = LowRank::new(dense(b), dense(a)).unwrap_err();
        assert!(matches!(error, WeightError::Component { .. }), "{error}");
    }
    let product: Weight = Arc::new(LowRank::new(dense([4, 2]), dense([2, 5])).unwrap());
    let error = LowRank::new(product, dense([5, 3])).unwrap_err().to_string();
    assert!(error.contains("low_rank") && error.contains("\"b\""), "{error}");
    let error = Sum::new(vec![dense([2, 3]), dense([3, 2])]).unwrap_err().to_string();
    assert!(error.contains("terms.1") && error.contains("[3, 2]"), "{error}");
    assert!(Sum::new(Vec::new()).is_err());
}

/// A sum inside a sum is no case of its own.
#[test]
fn sums_are_flat() {
    let inner: Weight = Arc::new(Sum::new(vec![dense([2, 3]), dense([2, 3])]).unwrap());
    let sum = Sum::new(vec![dense([2, 3]), inner]).unwrap();
    assert_eq!(sum.terms().len(), 3);
    assert!(sum.terms().iter().all(|term| term.kind() == "dense"));
}

fn refusal(descriptor: &Value, components: Components) -> String {
    CodecRegistry::builtin().decode([4, 5], descriptor, components).unwrap_err().to_string()
}

/// Whatever a damaged file may say is refused by name.
#[test]
fn descriptors_and_components_that_do_not_fit_are_refused() {
    let weight = LowRank::new(dense([4, 2]), dense([2, 5])).unwrap();
    let good = weight.descriptor();
    let with = |key: &str, value: Value| {
        let mut descriptor = good.clone();
        descriptor[key] = value;
        descriptor
    };
    for (descriptor, fragment) in [
        (with("rank", json!(0)), "rank must be"),
        (with("rank", json!(-1)), "rank must be"),
        (with("rank", json!(3)), "\"b.weight\""),
        (with("extra", json!(3)), "unknown key \"extra\""),
        (with("a", json!({ "kind": "sum" })), "not allowed as part \"a\""),
        (with("a", good.clone()), "not allowed as part \"a\""),
        (with("a", json!({ "kind": "nonsense" })), "nonsense"),
        (json!({ "kind": "low_rank", "rank": 2 }), "needs both"),
        (json!({ "kind": "sum", "terms": [] }), "at least one"),
        (
            json!({ "kind": "sum", "terms": [{ "kind": "sum", "terms": [] }] }),
            "not allowed as part \"terms.0\"",
        ),
    ] {
        let error = refusal(&descriptor, components(&weight));
        assert!(error.contains(fragment) && !error.contains('\n'), "{descriptor}: {error}");
    }
    let mut missing = components(&weight);
    missing.remove("a.weight");
    assert!(refusal(&good, missing).contains("\"a.weight\""));
    let mut more = components(&weight);
    more.insert("c.weight".to_owned(), Tensor::from_f32(DType::F32, vec![1], &[0.0]).unwrap());
    assert!(refusal(&good, more).contains("\"c.weight\""));
    let mut more = components(&weight);
    more.insert("a.weight_scale".to_owned(), Tensor::from_f32(DType::F32, vec![1], &[0.0]).unwrap());
    assert!(refusal(&good, more).contains("\"a.weight_scale\""));
    let mut narrow = components(&weight);
    narrow.insert("a.weight".to_owned(), Tensor::from_f32(DType::F32, vec![2, 4], &[0.0; 8]).unwrap());
    assert!(refusal(&good, narrow).contains("\"a.weight\" is [2, 4]"));
}
