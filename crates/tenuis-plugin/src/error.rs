//! Why a technique did not do its work.

use std::fmt;
use tenuis_abi as abi;
use tenuis_core::{TensorError, WeightError};
use thiserror::Error;

/// The kind of a failure; what the host shows beside the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// Stopped because the host asked for it.
    Cancelled,
    /// An option, a weight or a statistic is wrong.
    Invalid,
    /// The technique cannot do it.
    Unsupported,
    /// The numbers do not allow it.
    Numerical,
    /// Not enough memory.
    OutOfMemory,
    /// Reading or writing failed.
    Io,
}

impl FailureKind {
    pub(crate) const fn status(self) -> i32 {
        match self {
            Self::Cancelled => abi::TN_CANCELLED,
            Self::Invalid => abi::TN_INVALID,
            Self::Unsupported => abi::TN_UNSUPPORTED,
            Self::Numerical => abi::TN_NUMERICAL,
            Self::OutOfMemory => abi::TN_OOM,
            Self::Io => abi::TN_IO,
        }
    }

    pub(crate) const fn from_status(status: i32) -> Self {
        match status {
            abi::TN_CANCELLED => Self::Cancelled,
            abi::TN_UNSUPPORTED => Self::Unsupported,
            abi::TN_NUMERICAL => Self::Numerical,
            abi::TN_OOM => Self::OutOfMemory,
            abi::TN_IO => Self::Io,
            _ => Self::Invalid,
        }
    }
}

/// A failure of a technique: a kind and a message for the user, which is all that crosses the border.
///
/// The message should name the tensor and the mend.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct TechniqueError {
    kind: FailureKind,
    message: String,
}

impl TechniqueError {
    /// A failure of any kind.
    pub fn new(kind: FailureKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }

    /// An option, a weight or a statistic is wrong.
    pub fn invalid(message: impl fmt::Display) -> Self {
        Self::new(FailureKind::Invalid, message)
    }

    /// The technique cannot do it.
    pub fn unsupported(message: impl fmt::Display) -> Self {
        Self::new(FailureKind::Unsupported, message)
    }

    /// The numbers do not allow it.
    pub fn numerical(message: impl fmt::Display) -> Self {
        Self::new(FailureKind::Numerical, message)
    }

    /// Stopped because the host asked for it.
    pub fn cancelled() -> Self {
        Self::new(FailureKind::Cancelled, "cancelled")
    }

    /// The host is too old for what is asked of it.
    pub(crate) fn missing(function: &str) -> Self {
        Self::unsupported(format!("the host has no function {function}"))
    }

    /// The kind.
    pub const fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The same failure, with the name of the tensor before its message.
    #[must_use]
    pub fn about(self, tensor: &str) -> Self {
        Self { message: format!("{tensor}: {}", self.message), ..self }
    }
}

/// What a function of the host said.
pub(crate) fn outcome(status: i32, error: &abi::tn_err) -> Result<(), TechniqueError> {
    if status == abi::TN_OK {
        return Ok(());
    }
    Err(TechniqueError::new(FailureKind::from_status(status), error.message()))
}

impl From<WeightError> for TechniqueError {
    fn from(error: WeightError) -> Self {
        Self::invalid(error)
    }
}

impl From<TensorError> for TechniqueError {
    fn from(error: TensorError) -> Self {
        Self::invalid(error)
    }
}
