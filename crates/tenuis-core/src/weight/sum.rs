//! A sum of representations, such as a quantised weight and the low-rank correction of its error.

use super::{Codec, Component, Components, Representation, Weight, WeightError, nested, nothing_left};
use serde_json::{Value, json};
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

/// A sum is no term of a sum: its terms are.
const REFUSED: [&str; 1] = ["sum"];

/// A matrix as the sum of others of its shape, `W = Σₖ Wₖ`.
///
/// Stored bytes: the sum of the terms'.
///
/// # Components
/// `terms.{k}.{suffix}`: the components of term `k`, counted from 0.
///
/// ```
/// use std::sync::Arc;
/// use tenuis_core::{DType, Dense, Representation, Sum, Tensor, Weight};
/// let one: Weight = Arc::new(Dense::new(Tensor::from_f32(DType::F32, vec![1, 2], &[1.0, 2.0])?)?);
/// let sum = Sum::new(vec![Arc::clone(&one), one])?;
/// assert_eq!(sum.stored_bytes(), 16);
/// assert_eq!((&sum as &dyn Representation).to_dense()?, [2.0, 4.0]);
/// # Ok::<(), tenuis_core::WeightError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sum {
    terms: Vec<Weight>,
}

impl Sum {
    /// Joins terms; those of a term that is itself a sum become terms of this one.
    ///
    /// # Errors
    /// [`WeightError::Descriptor`] where there is no term, [`WeightError::Component`] where two have different shapes.
    pub fn new(terms: Vec<Weight>) -> Result<Self, WeightError> {
        let flat: Vec<Weight> = terms
            .into_iter()
            .flat_map(|term| match term.downcast::<Self>() {
                Some(sum) => sum.terms.clone(),
                None => vec![term],
            })
            .collect();
        let Some(first) = flat.first() else {
            return Err(WeightError::Descriptor {
                descriptor: json!({ "kind": "sum", "terms": [] }).to_string(),
                problem: "needs at least one term".to_owned(),
            });
        };
        let expected = first.shape();
        if let Some((k, term)) = flat.iter().enumerate().find(|(_, term)| term.shape() != expected) {
            return Err(WeightError::Component {
                component: part(k),
                expected: format!("{expected:?}"),
                found: format!("{:?}", term.shape()),
            });
        }
        Ok(Self { terms: flat })
    }

    /// The terms; at least one, and none of them a sum.
    pub fn terms(&self) -> &[Weight] {
        &self.terms
    }
}

impl Sum {
    /// A sum with every term changed; `None` where one cannot be.
    fn each(
        &self,
        change: impl Fn(&Weight) -> Result<Option<Weight>, WeightError>,
    ) -> Result<Option<Weight>, WeightError> {
        let terms: Option<Vec<Weight>> = self.terms.iter().map(change).collect::<Result<_, _>>()?;
        Ok(terms.map(|terms| Arc::new(Self { terms }) as Weight))
    }
}

fn part(k: usize) -> String {
    format!("terms.{k}")
}

impl Representation for Sum {
    fn kind(&self) -> &'static str {
        "sum"
    }

    fn descriptor(&self) -> Value {
        let terms: Vec<Value> = self.terms.iter().map(|term| term.descriptor()).collect();
        json!({ "kind": self.kind(), "terms": terms })
    }

    fn shape(&self) -> [usize; 2] {
        self.terms[0].shape()
    }

    fn components(&self) -> Vec<Component> {
        let terms = self.terms.iter().enumerate();
        terms.flat_map(|(k, term)| nested::prefixed(&part(k), term.as_ref())).collect()
    }

    fn stored_bytes(&self) -> u64 {
        self.terms.iter().map(|term| term.stored_bytes()).sum()
    }

    fn decode_rows(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), WeightError> {
        self.terms[0].decode_rows(rows.clone(), out)?;
        let mut decoded = vec![0.0; if self.terms.len() > 1 { out.len() } else { 0 }];
        for term in &self.terms[1..] {
            term.decode_rows(rows.clone(), &mut decoded)?;
            out.iter_mut().zip(&decoded).for_each(|(sum, value)| *sum += value);
        }
        Ok(())
    }

    fn parameters(&self) -> u64 {
        self.terms.iter().map(|term| term.parameters()).sum()
    }

    fn nonzero_parameters(&self) -> Result<u64, WeightError> {
        self.terms.iter().map(|term| term.nonzero_parameters()).sum()
    }

    fn scale_rows(&self, factors: &[f32]) -> Result<Option<Weight>, WeightError> {
        self.each(|term| term.scale_rows(factors))
    }

    fn scale_columns(&self, factors: &[f32]) -> Result<Option<Weight>, WeightError> {
        self.each(|term| term.scale_columns(factors))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Reads `{"kind": "sum", "terms": [{…}, …]}` with the descriptors of the terms.
#[derive(Clone, Copy, Debug)]
pub struct SumCodec;

impl Codec for SumCodec {
    fn kind(&self) -> &'static str {
        "sum"
    }

    fn decode(
        &self,
        shape: [usize; 2],
        descriptor: &Value,
        mut components: Components,
    ) -> Result<Weight, WeightError> {
        nested::check_keys(descriptor, &["kind", "terms"])?;
        let terms = descriptor.get("terms").and_then(Value::as_array).filter(|terms| !terms.is_empty());
        let terms = terms.ok_or_else(|| WeightError::Descriptor {
            descriptor: descriptor.to_string(),
            problem: "terms must be a list of at least one descriptor".to_owned(),
        })?;
        let terms = terms
            .iter()
            .enumerate()
            .map(|(k, term)| nested::decode(&part(k), shape, term, &mut components, &REFUSED))
            .collect::<Result<_, _>>()?;
        nothing_left(&components, self.kind())?;
        Ok(Arc::new(Sum::new(terms)?))
    }
}
